import { waitUntil } from '../wait-until.ts';
import { runGuide } from './guide-steps.ts';
import type { Machine } from './machine.ts';

/** Renews the proxies' Secret as docs/guides/certificates.md says. Resolves when every proxy has read it. */
export async function renewFrontProxySecret(machines: readonly [Machine, ...Machine[]]): Promise<void> {
  const [first] = machines;
  const since = new Date().toISOString();
  await runGuide(first, 'certificates.md', 'peerdiscovery-front-proxy-client');
  const reread = () => haveReread(first, machines.length, since);
  const bounds = { boundMs: 180_000, everyMs: 5_000 };
  await waitUntil('proxies with the new front-proxy certificate', reread, bounds);
}

/** True when this many proxies have logged that they have read a new front-proxy certificate. */
async function haveReread(machine: Machine, count: number, since: string): Promise<boolean> {
  const flags = ['-l', 'app.kubernetes.io/component=front-proxy', '--prefix', '--tail=-1', `--since-time=${since}`];
  const { stdout } = await machine.run(['kubectl', 'logs', '-n', 'peerdiscovery-front-proxy', ...flags]);
  const lines = stdout.split('\n').filter((line) => line.includes('re-read') && line.includes('front-proxy"'));
  return new Set(lines.map((line) => line.split(' ')[0])).size >= count;
}
