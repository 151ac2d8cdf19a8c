import { type Door, doorAttacks } from './door-attacks.ts';

// The program of an attacker, which goes on until it is ended: node run-door-attack.ts NAME DOOR...
const [name = '', ...doors] = process.argv.slice(2);
const attack = doorAttacks[name];
if (attack === undefined) throw new Error(`no attack is called ${name}`);
// Whoever started it is gone.
process.on('disconnect', () => process.exit());
setInterval(() => {}, 60_000);
await Promise.all(doors.map((door) => attack(JSON.parse(door) as Door)));
