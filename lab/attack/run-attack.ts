import { findAttack } from './find-attack.ts';
import type { Victim } from './open-connections.ts';

// The process of an attacker. It runs until it is killed: node run-attack.ts NAME VICTIM..., each victim as JSON
const [name = '', ...victims] = process.argv.slice(2);
const attack = findAttack(name);
// The parent process is gone.
process.on('disconnect', () => process.exit());
setInterval(() => {}, 60_000);
await Promise.all(victims.map((victim) => attack(JSON.parse(victim) as Victim)));
