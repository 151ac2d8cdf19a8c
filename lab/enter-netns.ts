import { spawn, spawnSync } from 'node:child_process';

/** Addresses that the namespace gets for its servers, on its loopback device. */
const addresses = Array.from({ length: 30 }, (_, index) => `10.77.0.${index + 11}`);

const usage = `Runs a command in a network namespace of its own, which ends with the command's last process.

Usage: node lab/enter-netns.ts -- COMMAND [ARG ...]
`;

/** Loopback addresses are refused in Endpoints, so the lab's servers need others, and a default route to be chosen. */
const setUp = [
  'set -e',
  'ip link set lo up',
  ...addresses.map((address) => `ip address add ${address}/32 dev lo`),
  'ip route add default dev lo',
  'exec "$@"',
].join('\n');

function works(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** The arguments of `unshare` that this machine permits, or what is missing. */
function chooseNamespaces(): readonly string[] {
  if (!works('unshare', ['--version'])) throw new Error('unshare is missing: install util-linux');
  if (!works('ip', ['-V'])) throw new Error('ip is missing: install iproute2');
  const asRoot = ['--net', '--uts'];
  if (works('unshare', [...asRoot, 'true'])) return asRoot;
  const asUser = ['--map-root-user', '--net', '--uts'];
  if (works('unshare', [...asUser, 'true'])) return asUser;
  throw new Error(
    'neither root nor unprivileged user namespaces are permitted here: run as root, or allow them with ' +
      '"sysctl kernel.unprivileged_userns_clone=1" or "sysctl kernel.apparmor_restrict_unprivileged_userns=0"',
  );
}

function main(): void {
  const [separator, ...command] = process.argv.slice(2);
  if (separator !== '--' || command.length === 0) {
    process.stderr.write(usage);
    process.exitCode = 2;
    return;
  }
  let namespaces: readonly string[];
  try {
    namespaces = chooseNamespaces();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
    return;
  }
  const child = spawn('unshare', [...namespaces, 'sh', '-c', setUp, 'sh', ...command], { stdio: 'inherit' });
  // A terminal sends Ctrl-C to the whole group, the command included; other signals come here alone.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('error', (error) => {
    process.stderr.write(`unshare: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

main();
