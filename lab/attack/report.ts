import { writeFileSync } from 'node:fs';
import type { AttackOutcome } from './measure-attack.ts';
import type { DoorOutcome } from './measure-door-attack.ts';

const mebibyte = 1024 * 1024;

/** The worst figures of all attacks. */
export interface AttackVerdict {
  readonly failed: number;
  readonly mostMemory: number;
  readonly worstRatio: number;
}

/** Judges all attacks together. */
export function judgeAttacks(outcomes: readonly AttackOutcome[]): AttackVerdict {
  return {
    failed: outcomes.reduce((sum, { attacked }) => sum + attacked.failed, 0),
    mostMemory: Math.max(...outcomes.map(({ peakBytes }) => peakBytes)),
    worstRatio: Math.max(...outcomes.map(ratioOf)),
  };
}

/** How many times longer other users wait during the attack. */
function ratioOf({ quiet, attacked }: AttackOutcome): number {
  return attacked.p50Ms / quiet.p50Ms;
}

/** One line of the report. */
export function describeOutcome(outcome: AttackOutcome): string {
  const { attack, attacked, peakBytes, residentAfterBytes, descriptorsAfter } = outcome;
  const answered = `${attacked.requests - attacked.failed} of ${attacked.requests}`;
  const memory = [peakBytes, residentAfterBytes].map((bytes) => `${Math.round(bytes / mebibyte)} MiB`);
  return [attack, answered, ratioOf(outcome).toFixed(1), ...memory, String(descriptorsAfter)].join(' | ');
}

/** One line of the report. */
export function describeDoorOutcome({ attack, visits, users, peakBytes }: DoorOutcome): string {
  const answered = ({ requests, failed }: { requests: number; failed: number }) =>
    `${requests - failed} of ${requests}`;
  const waits = [visits.p50Ms, visits.p99Ms].map((ms) => `${ms.toFixed(0)} ms`);
  return [attack, answered(visits), ...waits, answered(users), `${Math.round(peakBytes / mebibyte)} MiB`].join(' | ');
}

/** Writes the report. */
export function writeAttackReport(
  file: string,
  outcomes: readonly AttackOutcome[],
  doors: readonly DoorOutcome[],
  setting: { readonly seconds: number; readonly limitBytes: number; readonly load: number; readonly date: string },
): void {
  const { failed, mostMemory, worstRatio } = judgeAttacks(outcomes);
  const lines = [
    '# Attacks of clients without a credential',
    '',
    'Written by `make attack`. Each attack runs against a proxy with its default flags, in front of two real kube-apiservers.',
    'Meanwhile two known users send requests over both protocols, on kept and on new connections.',
    '',
    `- ${setting.date}, ${setting.seconds} s without and with each attack. The attacker is one process; everything shares one machine with two`,
    `  cores (load ${setting.load.toFixed(0)} at the end), so the attacker's own CPU use is part of each ratio.`,
    `- Failed requests of the two users: **${failed}** of ${outcomes.reduce((sum, { attacked }) => sum + attacked.requests, 0)}.`,
    `- Peak memory of the proxy: **${Math.round(mostMemory / mebibyte)} MiB** of the ${Math.round(setting.limitBytes / mebibyte)} MiB limit in the chart.`,
    `- Largest increase of the median wait: **${worstRatio.toFixed(1)}** times that without the attack.`,
    '',
    '| Attack | Others answered | Wait | Peak | After | Descriptors after |',
    '| --- | --- | --- | --- | --- | --- |',
    ...outcomes.map((outcome) => `| ${describeOutcome(outcome)} |`),
    '',
    '## The ports for probes, metrics and the status page',
    '',
    'Each attack goes at all four ports of an operator and a proxy at once: two for probes (HTTP) and two for metrics (HTTPS).',
    'Meanwhile two kubelets, two scrapes and a reader of the status page ask over a new connection each time, and two users ask',
    'the proxy.',
    '',
    '| Attack | Visitors answered | Median | 99th percentile | Users answered | Peak of either |',
    '| --- | --- | --- | --- | --- | --- |',
    ...doors.map((outcome) => `| ${describeDoorOutcome(outcome)} |`),
    '',
  ];
  writeFileSync(file, lines.join('\n'));
}
