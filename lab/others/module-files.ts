import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../build/build-control-plane.ts';

/** A folder or file in the sources of a Go module. Go verifies the sources with its checksum database. */
export interface ModuleFiles {
  readonly module: string;
  readonly version: string;
  readonly path: string;
}

/** Resolves to a cached copy of the folder or file. It is downloaded once. */
export async function ensureModuleFiles(
  { module, version, path }: ModuleFiles,
  log: (message: string) => void,
): Promise<string> {
  const copy = join(cacheFolder(), 'others', 'files', `${module}@${version}`, path);
  if (existsSync(copy)) return copy;
  log(`downloading ${module} ${version} for its ${path}`);
  const args = ['mod', 'download', '-json', `${module}@${version}`];
  const { status, stdout, stderr } = spawnSync('go', args, { cwd: tmpdir(), encoding: 'utf8' });
  if (status !== 0) throw new Error(`go ${args.join(' ')} ended with ${status}: ${stderr}${stdout}`);
  const { Dir: sources } = JSON.parse(stdout) as { Dir: string };
  const partial = `${copy}.${process.pid}`;
  await mkdir(dirname(partial), { recursive: true });
  await cp(join(sources, path), partial, { recursive: true });
  await rename(partial, copy);
  return copy;
}

/** Kubernetes releases whose OpenAPI documents check the manifests, one for each supported minor. */
export const releases = [
  '1.27.16',
  '1.28.15',
  '1.29.6',
  '1.30.14',
  '1.31.14',
  '1.32.13',
  '1.33.13',
  '1.34.4',
  '1.35.4',
  '1.36.3',
] as const;

/** The OpenAPI documents of one release. */
export const openApiOf = (release: string): ModuleFiles => ({
  module: 'k8s.io/kubernetes',
  version: `v${release}`,
  path: 'api/openapi-spec/v3',
});

/** CustomResourceDefinitions of cert-manager, of the version that `lab/others/cert-manager/go.mod` pins. */
export const certManagerDefinitions: ModuleFiles = {
  module: 'github.com/cert-manager/cert-manager',
  version: 'v1.21.2',
  path: 'deploy/crds',
};

/** CustomResourceDefinitions of Flux, as `lab/others/flux/go.mod` pins it; later versions need a later Go. */
export const fluxDefinitions: readonly ModuleFiles[] = [
  { module: 'github.com/fluxcd/source-controller', version: 'v1.9.6', path: 'config/crd/bases' },
  { module: 'github.com/fluxcd/kustomize-controller', version: 'v1.9.6', path: 'config/crd/bases' },
  { module: 'github.com/fluxcd/helm-controller', version: 'v1.6.1', path: 'config/crd/bases' },
];

/** Argo CD, of the version that `lab/others/argocd/go.mod` pins; later versions need a later Go. */
const argoCd = { module: 'github.com/argoproj/argo-cd/v3', version: 'v3.5.7' };

/** CustomResourceDefinitions of Argo CD. */
export const argoDefinitions: ModuleFiles = { ...argoCd, path: 'manifests/crds' };

/** ConfigMaps and Secret from which Argo CD reads its settings, with its defaults. */
export const argoSettings: ModuleFiles = { ...argoCd, path: 'manifests/base/config' };

/** A script of Argo CD's image, which its repo server runs for each commit. */
export const argoCommitVerifier: ModuleFiles = { ...argoCd, path: 'hack/git-verify-wrapper.sh' };

/** CustomResourceDefinitions of the Prometheus Operator, of the version that `lab/others/prometheus-operator` pins. */
export const prometheusDefinitions: ModuleFiles = {
  module: 'github.com/prometheus-operator/prometheus-operator',
  version: 'v0.85.0',
  path: 'example/prometheus-operator-crd',
};

/** The CustomResourceDefinitions for all third-party objects in the manifests. */
export const foreignDefinitions: readonly ModuleFiles[] = [
  certManagerDefinitions,
  prometheusDefinitions,
  ...fluxDefinitions,
  argoDefinitions,
];
