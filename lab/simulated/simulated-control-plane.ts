import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VersionDiscovery } from '../../src/domain/discovery-document.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { inlined, issue, type KeyPair, makeAuthority } from '../plane/certificates.ts';
import type { SimulatedUser } from './answer.ts';
import { createObjectStore, type ObjectStore } from './object-store.ts';
import type { ServingCertificate } from './serve-requests.ts';
import { createSimulatedServer, type SimulatedServer, type SimulatedServerOptions } from './simulated-apiserver.ts';

/** Certificates that a server can present. */
export type CertificateKind = 'good' | 'otherAuthority' | 'withoutName';

/** Simulated kube-apiservers with one store. Each has its own loopback address. */
export interface SimulatedControlPlane {
  readonly servers: readonly SimulatedServer[];
  /** The shared store, in place of etcd. */
  readonly store: ObjectStore;
  /** The servers behind APIServices, by `group/version`; without an entry, a group-version is `Stale`. */
  readonly extensions: Map<string, VersionDiscovery>;
  readonly caFile: string;
  /** The folder of its files. It is removed at the end. */
  readonly folder: string;
  readonly tokens: Readonly<Record<'admin' | 'operator' | 'proxy', string>>;
  server(name: string): SimulatedServer;
  /** A certificate for a server by name; `withoutName` lacks `kubernetes.default.svc`. */
  certificate(name: string, kind: CertificateKind): ServingCertificate;
  /** Files of a serving certificate for another program, such as the proxy. */
  issueServingCert(name: string, dns: readonly string[], ips: readonly string[]): KeyPair;
  /** Writes a kubeconfig and returns its path. */
  kubeconfig(access: { readonly server: string; readonly token: string; readonly name: string }): string;
  /** Stops everything and removes all files. */
  stop(): Promise<void>;
}

/** How long an address stays in the endpoints of `default/kubernetes` after its server's last renewal. */
const endpointTtlMs = 15_000;

/** Starts the servers, which are ready at once. All use the port that the first one gets. */
export async function startSimulatedControlPlane(options: {
  readonly servers: readonly SimulatedServerOptions[];
  readonly clock?: Clock;
  /** Registers a control-plane Node for each server, as kubeadm does; true by default. */
  readonly nodes?: boolean;
}): Promise<SimulatedControlPlane> {
  const clock = options.clock ?? systemClock;
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-simulated-'));
  const removeFiles = () => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  process.once('exit', removeFiles);
  const store = createObjectStore(() => clock.date());
  const authority = makeAuthority(folder, 'ca');
  const extensions = new Map<string, VersionDiscovery>();
  const tokens = { admin: newToken(), operator: newToken(), proxy: newToken() };
  const users = new Map<string, SimulatedUser>(
    Object.entries(tokens).map(([name, token]) => [token, { name, groups: ['system:authenticated'] }]),
  );
  // A subnet of 127/8 per control plane, so that several can run at once. Linux answers on all of it.
  const subnet = `127.${randomInt(16, 250)}.${randomInt(0, 255)}`;
  let port = 0;
  const renewedAt = new Map<string, number>();

  function announce(ip: string, present: boolean): void {
    if (present) renewedAt.set(ip, clock.now());
    else renewedAt.delete(ip);
    for (const [other, at] of renewedAt) if (clock.now() - at > endpointTtlMs) renewedAt.delete(other);
    const key = { resource: 'discovery.k8s.io/endpointslices', namespace: 'default', name: 'kubernetes' };
    store.put(key, {
      metadata: { name: 'kubernetes', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      addressType: 'IPv4',
      endpoints: [...renewedAt.keys()].sort().map((address) => ({ addresses: [address], conditions: { ready: true } })),
      ports: [{ name: 'https', protocol: 'TCP', port }],
    });
  }

  const issued = new Map<string, ServingCertificate>();
  let strangers: KeyPair | undefined;
  const certificate: SimulatedControlPlane['certificate'] = (name, kind) => {
    const known = issued.get(`${name} ${kind}`);
    if (known !== undefined) return known;
    if (kind === 'otherAuthority') strangers ??= makeAuthority(folder, 'other-ca');
    const signer = kind === 'otherAuthority' && strangers !== undefined ? strangers : authority;
    const names = kind === 'withoutName' ? [`DNS:${name}`] : ['DNS:kubernetes.default.svc', `DNS:${name}`];
    const at = options.servers.findIndex((server) => server.name === name);
    const pair = issue(folder, `${name}-${kind}`, signer, `/CN=${name}`, [...names, `IP:${subnet}.${at + 1}`]);
    const made = { cert: readFileSync(pair.cert, 'utf8'), key: readFileSync(pair.key, 'utf8') };
    issued.set(`${name} ${kind}`, made);
    return made;
  };

  followDefinitions(store);
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    store.put({ resource: '/namespaces', namespace: '', name }, { metadata: { name }, spec: {}, status: {} });

  const servers = options.servers.map((server, index) =>
    createSimulatedServer(server, {
      store,
      clock,
      users,
      address: `${subnet}.${index + 1}`,
      port: () => port,
      certificate: certificate(server.name, 'good'),
      extensions,
      announce,
      onListening: (chosen) => {
        port = chosen;
      },
    }),
  );
  const stop = async () => {
    await Promise.all(servers.map((server) => server.kill()));
    process.off('exit', removeFiles);
    removeFiles();
  };
  try {
    for (const server of servers) await server.start();
  } catch (error) {
    await stop();
    throw error;
  }
  if (options.nodes ?? true)
    servers.forEach(({ name }, index) => {
      const labels = { 'node-role.kubernetes.io/control-plane': '', 'kubernetes.io/hostname': name };
      const addresses = [{ type: 'InternalIP', address: `${subnet}.${index + 1}` }];
      store.put({ resource: '/nodes', namespace: '', name }, { metadata: { name, labels }, status: { addresses } });
    });

  return {
    servers,
    store,
    extensions,
    caFile: authority.cert,
    folder,
    tokens,
    server(name) {
      const found = servers.find((server) => server.name === name);
      if (found === undefined) throw new Error(`unknown server: ${name}`);
      return found;
    },
    certificate,
    issueServingCert: (name, dns, ips) =>
      issue(folder, `serving-${name}`, authority, `/CN=${name}`, [
        ...dns.map((host) => `DNS:${host}`),
        ...ips.map((ip) => `IP:${ip}`),
      ]),
    kubeconfig({ server, token, name }) {
      const path = join(folder, `${name}.kubeconfig`);
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': name,
        clusters: [{ name, cluster: { server, 'certificate-authority-data': inlined(authority.cert) } }],
        users: [{ name, user: { token } }],
        contexts: [{ name, context: { cluster: name, user: name } }],
      };
      writeFileSync(path, JSON.stringify(config, undefined, 2), { mode: 0o600 });
      return path;
    },
    stop,
  };
}

/** The work of kube-apiserver's controllers for definitions: accepts each, and removes the objects of a deleted one. */
function followDefinitions(store: ObjectStore): void {
  store.listen(({ resource, type, object }) => {
    if (resource !== 'apiextensions.k8s.io/customresourcedefinitions') return;
    const { name } = object.metadata;
    const spec = object.spec as { group: string; names: { plural: string } };
    // Runs later, so that every listener gets this change before the next one.
    queueMicrotask(() => {
      const key = { resource, namespace: '', name };
      const now = store.get(key);
      if (type === 'DELETED')
        for (const { metadata } of store.list(`${spec.group}/${spec.names.plural}`))
          store.delete({
            resource: `${spec.group}/${spec.names.plural}`,
            namespace: metadata.namespace ?? '',
            name: metadata.name,
          });
      else if (now !== undefined && now.status === undefined) {
        const conditions = ['NamesAccepted', 'Established'].map((condition) => ({ type: condition, status: 'True' }));
        store.put(key, { ...now, status: { conditions, acceptedNames: spec.names } });
      }
    });
  });
}

function newToken(): string {
  return randomBytes(16).toString('hex');
}

function randomInt(from: number, to: number): number {
  return from + (randomBytes(2).readUInt16BE() % (to - from));
}
