import { writeFileSync } from 'node:fs';
import type { AttackOutcome } from './measure-attack.ts';

const mebibyte = 1024 * 1024;

/** What was asked of it, in one line each. */
export interface AttackVerdict {
  readonly failed: number;
  readonly mostMemory: number;
  readonly worstRatio: number;
}

/** The worst of all outcomes. */
export function judgeAttacks(outcomes: readonly AttackOutcome[]): AttackVerdict {
  return {
    failed: outcomes.reduce((sum, { attacked }) => sum + attacked.failed, 0),
    mostMemory: Math.max(...outcomes.map(({ peakBytes }) => peakBytes)),
    worstRatio: Math.max(...outcomes.map(ratioOf)),
  };
}

/** How many times as long other users wait. */
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

/** Writes the report. */
export function writeAttackReport(
  file: string,
  outcomes: readonly AttackOutcome[],
  setting: { readonly seconds: number; readonly limitBytes: number; readonly load: number; readonly date: string },
): void {
  const { failed, mostMemory, worstRatio } = judgeAttacks(outcomes);
  const lines = [
    '# Attacks of clients without a credential',
    '',
    'Written by `make attack`: programs against a proxy with its default flags before two real kube-apiservers, while two known',
    'users go on asking, over both protocols, on connections that stand and on new ones.',
    '',
    `- ${setting.date}, ${setting.seconds} s without and with each attack, a process for the attacker, all on one machine with two`,
    `  cores whose load was ${setting.load.toFixed(0)} when it ended. A share of each ratio is the attacker's own use of the machine.`,
    `- Requests of others that failed: **${failed}** of ${outcomes.reduce((sum, { attacked }) => sum + attacked.requests, 0)}.`,
    `- Most memory of the proxy: **${Math.round(mostMemory / mebibyte)} MiB** of the ${Math.round(setting.limitBytes / mebibyte)} MiB that the chart gives it.`,
    `- Longest wait (median, against that without the attack): **${worstRatio.toFixed(1)}** times.`,
    '',
    '| Attack | Others answered | Wait | Peak | After | Descriptors after |',
    '| --- | --- | --- | --- | --- | --- |',
    ...outcomes.map((outcome) => `| ${describeOutcome(outcome)} |`),
    '',
  ];
  writeFileSync(file, lines.join('\n'));
}
