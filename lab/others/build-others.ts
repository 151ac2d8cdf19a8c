import { ensureControlPlane } from '../build/build-control-plane.ts';
import { ensureHelm, ensurePrometheus } from '../build/build-go-tool.ts';
import {
  argoCommitVerifier,
  argoSettings,
  ensureModuleFiles,
  foreignDefinitions,
  openApiOf,
  releases,
} from './module-files.ts';
import { ensureArgoCd, ensureCertManager, ensureFlux, ensureHelm3, ensurePrometheusOperator } from './programs.ts';

// Builds all programs that `make test-others` runs. Its suites have no network from which to download modules.
const log = (message: string) => void process.stderr.write(`${message}\n`);
await ensureControlPlane({ versions: ['1.36'], log });
await ensureHelm(log);
for (const files of [...releases.map(openApiOf), ...foreignDefinitions, argoSettings, argoCommitVerifier])
  await ensureModuleFiles(files, log);
await ensureCertManager(log);
await ensureHelm3(log);
await ensureFlux(log);
await ensurePrometheus(log);
await ensurePrometheusOperator(log);
await ensureArgoCd(log);
