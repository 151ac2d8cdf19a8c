import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { attacks } from './attack/attacks.ts';
import { doorAttacks } from './attack/door-attacks.ts';
import { type AttackOutcome, measureAttack } from './attack/measure-attack.ts';
import { type DoorOutcome, measureDoorAttack } from './attack/measure-door-attack.ts';
import { describeDoorOutcome, describeOutcome, judgeAttacks, writeAttackReport } from './attack/report.ts';
import { chartLimitBytes, startAttackScene } from './attack/start-scene.ts';
import { repository } from './repository.ts';

const usage = `Attacks a proxy in front of real kube-apiservers without a credential, while other clients use it.

Usage: make attack [ARGS="[--seconds N] [--attack TEXT] [--no-report]"]

  --seconds N    duration of each attack (default 15)
  --attack TEXT  only the attacks whose name matches TEXT, a regular expression
  --no-report    leave docs/benchmarks/attacks.md as it is
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '15' },
      attack: { type: 'string', default: '' },
      'no-report': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const seconds = Number(values.seconds);
  const choose = (all: object) => Object.keys(all).filter((name) => new RegExp(values.attack).test(name));
  const [chosen, chosenDoors] = [choose(attacks), choose(doorAttacks)];
  if (values.help || !(seconds > 0) || chosen.length + chosenDoors.length === 0) {
    process.stderr.write(usage);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  const scene = await startAttackScene(seconds, say);
  const outcomes: AttackOutcome[] = [];
  const doors: DoorOutcome[] = [];
  try {
    for (const attack of chosen) {
      const outcome = await measureAttack(scene, attack);
      outcomes.push(outcome);
      say(describeOutcome(outcome));
    }
    for (const attack of chosenDoors) {
      const outcome = await measureDoorAttack(scene, attack);
      doors.push(outcome);
      say([describeDoorOutcome(outcome), ...outcome.failures.slice(0, 10)].join('\n  '));
    }
  } finally {
    await scene.mixed.stop();
  }
  const limitBytes = chartLimitBytes();
  const date = new Date().toISOString().slice(0, 10);
  const [load = 0] = loadavg();
  if (!values['no-report'])
    writeAttackReport(join(repository, 'docs/benchmarks/attacks.md'), outcomes, doors, {
      seconds,
      limitBytes,
      load,
      date,
    });
  const { failed, mostMemory } = judgeAttacks(outcomes);
  const failedAtDoors = doors.reduce((sum, { visits, users }) => sum + visits.failed + users.failed, 0);
  if (failed + failedAtDoors > 0 || mostMemory > limitBytes) process.exitCode = 1;
}

await main();
