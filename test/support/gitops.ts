import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { type GitServer, serveGit } from '../../lab/others/git-server.ts';
import type { DeployPlane } from '../../lab/plane/deploy-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';

const system = 'peerdiscovery-system';

interface Writer {
  readonly manager: string;
  /** The time of its last change to one of its fields. */
  readonly time: string;
  readonly subresource?: string;
}

/** An object that a GitOps tool has applied. */
export interface Applied {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly managedFields: readonly Writer[];
  };
}

/** The project in its own git repository, from which a GitOps tool installs it, and the result. */
export interface GitOps {
  readonly git: GitServer;
  /** The working tree of the repository. */
  readonly work: string;
  /** Changes a file of the working tree. Throws if that changes nothing. */
  edit(path: string, change: (text: string) => string): void;
  /** Applies an example unchanged, except for the address of the repository. */
  applyExample(name: string, address: RegExp): Promise<void>;
  /** A field of the proxies' Deployment. */
  proxies(jsonPath: string): Promise<string>;
  /** `spec.mode` of the PeerDiscovery. */
  mode(): Promise<string>;
  /** Three changes by hand: an edited Deployment, an edited PeerDiscovery and a deleted Service. */
  drift(): Promise<void>;
  /** True if nothing of `drift` is left. */
  isPutBack(): Promise<boolean>;
  /** Fails if any client changes more than the status of one of the tool's objects during four syncs of the tool. */
  expectNoWrites(isOfTool: (object: Applied) => boolean, look: () => Promise<unknown>): Promise<void>;
}

/** Serves the project in its present state. */
export async function startGitOps(lab: DeployPlane, address: string): Promise<GitOps> {
  const work = join(lab.folder, 'git');
  for (const folder of ['config', 'crds', 'charts', 'examples'])
    cpSync(join(repository, folder), join(work, folder), { recursive: true });
  const git = await serveGit(work, address);
  git.commit('The project as it is');
  const proxies: GitOps['proxies'] = (jsonPath) =>
    lab.must(['get', 'deployment', 'peerdiscovery-proxy', '-n', system, '-o', `jsonpath={${jsonPath}}`]);
  const mode = () => lab.must(['get', 'pd', 'cluster', '-o', 'jsonpath={.spec.mode}']);
  return {
    git,
    work,
    edit(path, change) {
      const file = join(work, path);
      const text = readFileSync(file, 'utf8');
      expect(change(text), 'the edit changes something').not.to.equal(text);
      writeFileSync(file, change(text));
    },
    async applyExample(name, pattern) {
      const text = readFileSync(join(repository, 'examples/gitops', name), 'utf8');
      const example = text.replace(pattern, git.url);
      expect(example).not.to.equal(text);
      await lab.must(['apply', '--server-side', '-f', '-'], example);
    },
    proxies,
    mode,
    async drift() {
      await lab.must(['scale', 'deployment/peerdiscovery-proxy', '-n', system, '--replicas=1']);
      await lab.must(['patch', 'pd', 'cluster', '--type=merge', '-p', '{"spec":{"mode":"Observe"}}']);
      await lab.must(['delete', 'service', 'peerdiscovery-proxy', '-n', system]);
    },
    async isPutBack() {
      const service = await lab.kubectl(['get', 'service', 'peerdiscovery-proxy', '-n', system]);
      return service.code === 0 && (await proxies('.spec.replicas')) === '2' && (await mode()) === 'Route';
    },
    async expectNoWrites(isOfTool, look) {
      const objects = await applied(lab, isOfTool);
      expect(objects.length).to.be.greaterThan(15);
      for (const object of objects) {
        const ours = writersOf(object).filter(({ manager }) => manager.startsWith('peerdiscovery'));
        expect(ours, nameOf(object)).to.deep.equal([]);
      }
      const before = await settled(lab, isOfTool);
      for (let looks = 0; looks < 4; looks++) await look();
      expect(writesOf(await applied(lab, isOfTool))).to.deep.equal(before);
    },
  };
}

const kinds = [
  ...['namespaces', 'deployments', 'services', 'serviceaccounts', 'clusterroles', 'clusterrolebindings'],
  ...['roles', 'rolebindings', 'poddisruptionbudgets', 'networkpolicies', 'peerdiscoveries', 'crds'],
].join(',');

async function applied(lab: DeployPlane, isOfTool: (object: Applied) => boolean): Promise<readonly Applied[]> {
  const found = await lab.must(['get', kinds, '-A', '-o', 'json', '--show-managed-fields']);
  return (JSON.parse(found) as { items: Applied[] }).items.filter(isOfTool);
}

const nameOf = ({ kind, metadata }: Applied) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
/** Clients that change more than its status, which changes with every Pod's readiness. */
const writersOf = ({ metadata }: Applied) =>
  metadata.managedFields.filter(({ subresource }) => subresource !== 'status');
const writesOf = (objects: readonly Applied[]): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    objects.map((object) => [
      nameOf(object),
      [object.metadata.generation, ...writersOf(object).map(({ manager, time }) => `${manager} at ${time}`)],
    ]),
  );

/** Resolves to the objects' writes after five seconds without a new one. */
function settled(lab: DeployPlane, isOfTool: (object: Applied) => boolean): Promise<Readonly<Record<string, unknown>>> {
  let last = '';
  return waitUntil(
    'nobody to write',
    async () => {
      const writes = writesOf(await applied(lab, isOfTool));
      const same = JSON.stringify(writes) === last;
      last = JSON.stringify(writes);
      return same ? writes : undefined;
    },
    { everyMs: 5_000 },
  );
}
