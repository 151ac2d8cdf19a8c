import { buildClients, clientMinors } from './build/build-clients.ts';
import { ensureControlPlane } from './build/build-control-plane.ts';
import { ensureH2spec, ensureHelm, ensureKrew } from './build/build-go-tool.ts';
import { buildMergeOracle, oracleMinors } from './build/build-merge-oracle.ts';

// Builds all programs that the end-to-end tests need from elsewhere. The tests run in their own network, which has no
// access to module proxies.
const log = (message: string) => void process.stderr.write(`${message}\n`);
await ensureControlPlane({ versions: ['1.36', '1.35'], log });
await ensureHelm(log);
await ensureH2spec(log);
await ensureKrew(log);
for (const minor of clientMinors) await buildClients(minor, log);
for (const minor of oracleMinors) await buildMergeOracle(minor, log);
