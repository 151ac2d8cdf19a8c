import { readFileSync } from 'node:fs';
import { attacks } from './attacks.ts';

// The program of an attacker, which goes on until it is ended: node run-attack.ts NAME HOST PORT CA-FILE
const [name = '', host = '', port = '', caFile = ''] = process.argv.slice(2);
const attack = attacks[name];
if (attack === undefined) throw new Error(`unknown attack: ${name}`);
// Whoever started it is gone.
process.on('disconnect', () => process.exit());
setInterval(() => {}, 60_000);
await attack({ host, port: Number(port), ca: readFileSync(caFile, 'utf8') });
