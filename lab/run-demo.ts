import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ensureControlPlane } from './build-control-plane.ts';
import { prepareMachine } from './prepare-machine.ts';

const args = process.argv.slice(2);
const say = (text: string) => void process.stdout.write(`${text}\n`);
const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Gets a real control plane, where the network is still that of the machine; says why if there is none to be had. */
async function canBeReal(): Promise<boolean> {
  if (args.includes('--simulated')) return false;
  try {
    const log = (text: string) => say(`   … ${text}`);
    await prepareMachine('demo', log);
    await ensureControlPlane({ versions: ['1.36'], log });
    return true;
  } catch (error) {
    say(`\nThere is no real control plane to be had: ${error instanceof Error ? error.message : String(error)}`);
    say('A simulated one takes its place.');
    return false;
  }
}

const real = await canBeReal();
const demo = [process.execPath, pathOf('demo.ts'), ...args];
// Only real servers need a network of their own.
const [file = '', ...rest] = real
  ? [process.execPath, pathOf('enter-netns.ts'), '--', ...demo]
  : [...demo, ...(args.includes('--simulated') ? [] : ['--simulated'])];
const child = spawn(file, rest, { stdio: 'inherit' });
// A terminal sends Ctrl-C to the whole group, the demo included; other signals come here alone.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.once('error', (error) => {
  process.stderr.write(`${file}: ${error.message}\n`);
  process.exitCode = 1;
});
child.once('exit', (code) => {
  process.exitCode = code ?? 1;
});
