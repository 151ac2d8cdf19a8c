import { setTimeout as sleep } from 'node:timers/promises';
import { documentsBytes, type ProxyLimits, worstCaseBytes } from '../../src/proxy/limits.ts';
import { proxyVictim, startAttacker } from '../attack/attacker.ts';
import { openDescriptors } from '../attack/measure-attack.ts';
import { type Served, serveUsers } from '../attack/serve-users.ts';
import type { ProxyScene } from '../attack/start-scene.ts';
import { memoryBytes } from '../bench/process.ts';
import { type LoadClient, startLoadClient } from './load-client.ts';

/** A proxy whose limits are all reached at once. */
export interface Filled {
  /** Watches of two users: the number opened, and the number that still run at the end. */
  readonly watches: { readonly opened: number; readonly standing: number };
  readonly slowReaders: number;
  readonly mostDescriptors: number;
  readonly peakBytes: number;
  /** The sum of the limits, without OpenAPI documents of maximum length, which real servers do not have. */
  readonly plannedBytes: number;
  /** The answers to two other users at the end. */
  readonly others: Served;
}

/** Each fills one limit of clients without a credential: heads, streams or bodies. */
const attacks = [
  'HTTP/2: 28 connections with long heads and a bad path, window 0',
  'HTTP/2: 80 connections with 250 watches and made-up tokens each, window 0',
  'HTTP/1.1: 1,000 bodies, one byte a second, made-up tokens',
  'HTTP/1.1: queries of 60 KB, made-up tokens',
] as const;
const attackMs = 10_000;
/** Each user may have half of all long-running requests, and half of the bytes. */
const users = 2;
const slowReadersEach = 60;

/**
 * Fills the limits of connections, of long-running requests and of bytes by two users, and those of unknown clients by
 * attacks, one after another, while the others stay full.
 */
export async function fillLimits(
  { url, caFile, tokens, paths, proxyPid, mixed, now }: ProxyScene,
  limits: ProxyLimits,
  say: (line: string) => void,
): Promise<Filled> {
  // Half of the watches come over HTTP/1.1, each on a connection of its own. Attackers and others need some, too.
  const each = Math.floor((0.97 * Math.min(limits.maxLongRunning, 2 * limits.maxConnections)) / users);
  const clients: LoadClient<unknown>[] = [];
  try {
    const watches: LoadClient<{ standing: number }>[] = [];
    for (const token of tokens) {
      say(`opening ${each} watches of a user`);
      const client = await startLoadClient<{ standing: number }>('watches', { url, caFile, token }, each);
      watches.push(client);
      clients.push(client);
    }
    const stand = async () =>
      (await Promise.all(watches.map((client) => client.take()))).reduce((sum, one) => sum + one.standing, 0);
    say(`${await stand()} watches stand`);
    for (const token of tokens) clients.push(await startLoadClient('slow', { url, caFile, token }, slowReadersEach));
    for (const attack of attacks) {
      say(`${await stand()} watches stand; now ${attack}`);
      const attacker = startAttacker([proxyVictim(url, caFile)], attack);
      await sleep(attackMs);
      attacker.kill('SIGKILL');
    }
    const { secondOperator, proxy } = mixed.plane.tokens;
    const others = await serveUsers({ url, caFile, tokens: [secondOperator, proxy], paths, now }, 10);
    const mostDescriptors = openDescriptors(proxyPid);
    return {
      watches: { opened: users * each, standing: await stand() },
      slowReaders: users * slowReadersEach,
      mostDescriptors,
      peakBytes: memoryBytes(proxyPid, 'VmHWM'),
      plannedBytes: worstCaseBytes(limits) - documentsBytes,
      others,
    };
  } finally {
    for (const client of clients) client.end();
  }
}

/** The requirements that were not met, as sentences. */
export function judgeFilled({ watches, peakBytes, plannedBytes, others }: Filled): readonly string[] {
  return [
    ...(watches.standing < watches.opened ? [`${watches.opened - watches.standing} watches ended`] : []),
    ...(peakBytes > plannedBytes ? ['the proxy took more memory than its limits allow together'] : []),
    ...(others.failed > 0 || others.requests === 0 ? [`${others.failed} requests of others failed`] : []),
  ];
}

const mebibytes = (bytes: number) => Math.round(bytes / 1024 ** 2).toLocaleString('en');

/** The report. */
export function writeFilledReport(
  filled: Filled,
  setting: { readonly date: string; readonly load: number; readonly limitBytes: number },
): string {
  const { watches, slowReaders, mostDescriptors, peakBytes, plannedBytes, others } = filled;
  return [
    '# A proxy whose limits are all reached at once',
    '',
    'Written by `make load-test ARGS=--fill`: one proxy with its default flags before two real kube-apiservers.',
    '',
    '| What | Measured |',
    '| --- | --- |',
    `| Watches of two users that stand, of those opened | ${watches.standing.toLocaleString('en')} of ${watches.opened.toLocaleString('en')} |`,
    `| Clients that do not read a list of 6 MB | ${slowReaders} |`,
    `| Descriptors of the proxy | ${mostDescriptors.toLocaleString('en')} |`,
    `| Most memory of the proxy | ${mebibytes(peakBytes)} MiB |`,
    `| Memory that its limits allow together, without OpenAPI documents of maximum length | ${mebibytes(plannedBytes)} MiB |`,
    `| Memory that the chart gives it | ${mebibytes(setting.limitBytes)} MiB |`,
    `| Requests of two other users that failed meanwhile | ${others.failed} of ${others.requests} |`,
    '',
    `Attacks without a credential fill what unknown clients may have, each for ${attackMs / 1_000} s, while all else stays full:`,
    '',
    ...attacks.map((attack) => `- ${attack}`),
    '',
    `${setting.date}, on one machine of two cores with load average ${setting.load.toFixed(0)} at the end. \`limits.ts\` has the formula, and`,
    'a test tries it at small limits on each change (`test/proxy/worst-case.test.ts`).',
    '',
  ].join('\n');
}
