import { readFileSync } from 'node:fs';
import { attacks } from './attacks.ts';

// The process of an attacker. It runs until it is killed: node run-attack.ts NAME HOST PORT CA-FILE
const [name = '', host = '', port = '', caFile = ''] = process.argv.slice(2);
const attack = attacks[name];
if (attack === undefined) throw new Error(`unknown attack: ${name}`);
// The parent process is gone.
process.on('disconnect', () => process.exit());
setInterval(() => {}, 60_000);
await attack({ host, port: Number(port), ca: readFileSync(caFile, 'utf8') });
