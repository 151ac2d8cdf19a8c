import { waitUntil } from '../wait-until.ts';
import type { Machine } from './machine.ts';

/** Resolves when the proxy of every machine has logged since then that it re-read this certificate. */
export async function waitUntilReread(
  machines: readonly [Machine, ...Machine[]],
  certificate: 'front-proxy' | 'peer-ca',
  since: Date,
): Promise<void> {
  const [first] = machines;
  const reread = () => haveReread(first, machines.length, certificate, since);
  const bounds = { boundMs: 180_000, everyMs: 5_000 };
  await waitUntil(`proxies that have re-read the certificate “${certificate}”`, reread, bounds);
}

/** True when this many proxies have logged that they re-read the certificate. */
async function haveReread(machine: Machine, count: number, certificate: string, since: Date): Promise<boolean> {
  const flags = ['-l', 'app.kubernetes.io/component=front-proxy', '--prefix', '--tail=-1'];
  const logs = ['logs', '-n', 'peerdiscovery-front-proxy', ...flags, `--since-time=${since.toISOString()}`];
  const { stdout } = await machine.run(['kubectl', ...logs]);
  const lines = stdout.split('\n').filter((line) => line.includes('re-read') && line.includes(`"${certificate}"`));
  return new Set(lines.map((line) => line.split(' ')[0])).size >= count;
}
