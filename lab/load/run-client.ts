import { readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { proxyVictim } from '../attack/attacker.ts';
import { seededRandom } from '../seeded-random.ts';
import { openIdleWatches } from './idle-watches.ts';
import { startMixedLoad } from './mixed-load.ts';
import { startSlowReaders } from './slow-readers.ts';

// A process of the load. It answers each message with its counts: node run-client.ts ROLE URL CA-FILE TOKEN NUMBER
const [role = '', url = '', caFile = '', token = '', given = ''] = process.argv.slice(2);
const number = Number(given);
// Real clients have their own machines. Here they get a low priority, below proxy and servers.
setPriority(Math.min(19, getPriority() + 10));
const ca = readFileSync(caFile, 'utf8');
// The parent process is gone.
process.on('disconnect', () => process.exit());
setInterval(() => {}, 60_000);

const roles: Readonly<Record<string, () => Promise<() => unknown>>> = {
  async mixed() {
    const load = startMixedLoad({ url, ca, token }, seededRandom(number), () => performance.now());
    return () => load.take();
  },
  async watches() {
    const standing = await openIdleWatches({ url, caFile, token }, number);
    return () => ({ standing: standing() });
  },
  async slow() {
    startSlowReaders(proxyVictim(url, caFile), token, number);
    return () => ({});
  },
};
const start = roles[role];
if (start === undefined) throw new Error(`unknown role: ${role}`);
const take = await start();
process.on('message', () => process.send?.(take()));
process.send?.('ready');
