import { type Door, doorAttacks } from './door-attacks.ts';

// The process of an attacker. It runs until it is killed: node run-door-attack.ts NAME DOOR...
const [name = '', ...doors] = process.argv.slice(2);
const attack = doorAttacks[name];
if (attack === undefined) throw new Error(`unknown attack: ${name}`);
// The parent process is gone.
process.on('disconnect', () => process.exit());
setInterval(() => {}, 60_000);
await Promise.all(doors.map((door) => attack(JSON.parse(door) as Door)));
