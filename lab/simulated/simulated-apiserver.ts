import { randomUUID } from 'node:crypto';
import type { GroupDiscovery, VersionDiscovery } from '../../src/domain/discovery-document.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';
import { answerObject, type SimulatedRequest, type SimulatedUser } from './answer.ts';
import { answerDiscovery } from './answer-discovery.ts';
import { answerResource } from './answer-resource.ts';
import { applyLie, type Fault, garbageBytes } from './faults.ts';
import type { ObjectStore, StoredObject, StoreEvent } from './object-store.ts';
import {
  createRequestServer,
  type Reaction,
  type RequestServer,
  type SeenRequest,
  type ServingCertificate,
} from './serve-requests.ts';
import { createServedApis } from './served-apis.ts';
import { type SimulatedVersion, versionProfile } from './version-profile.ts';

/** One simulated kube-apiserver. */
export interface SimulatedServerOptions {
  /** Its hostname. */
  readonly name: string;
  readonly version: SimulatedVersion;
  /** True if aggregated discovery is disabled. */
  readonly legacyOnly?: boolean;
  /** Group-versions that `--runtime-config` disables, such as `batch/v1`. */
  readonly without?: readonly string[];
  /** The delay until it serves a new definition, or stops serving a deleted one. */
  readonly definitionDelayMs?: number;
  /** How far its clock is ahead of the others. */
  readonly clockSkewMs?: number;
}

/** State that all servers share. */
export interface ServerSurroundings {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly users: ReadonlyMap<string, SimulatedUser>;
  readonly address: string;
  readonly port: () => number;
  readonly certificate: ServingCertificate;
  /** The servers behind APIServices, by `group/version`. */
  readonly extensions: ReadonlyMap<string, VersionDiscovery>;
  /** Renews this server in the endpoints of `default/kubernetes`; false removes it. */
  readonly announce: (ip: string, present: boolean) => void;
  /** Called with the port once it is known. */
  readonly onListening: (port: number) => void;
}

/** One server of the fleet, running or stopped. */
export interface SimulatedServer {
  readonly name: string;
  readonly version: SimulatedVersion;
  /** `ip:port`. */
  readonly address: string;
  readonly url: string;
  readonly running: boolean;
  /** Sets its fault; undefined for none. */
  fault: Fault | undefined;
  /** Every request since the first start. */
  readonly seen: readonly SeenRequest[];
  /** The number of completed TLS handshakes. */
  readonly handshakes: number;
  /** The APIs that it really serves now, whatever its discovery says. */
  serves(): readonly GroupDiscovery[];
  /** Starts with a new identity, and serves when this resolves. The version may change, as in an upgrade. */
  start(version?: SimulatedVersion): Promise<void>;
  /** Stops as on SIGTERM: not ready for `drainMs`, then gone. */
  stop(drainMs?: number): Promise<void>;
  /** Stops as on SIGKILL. */
  kill(): Promise<void>;
  /** Sets the certificate of new connections, and breaks the existing ones. */
  useCertificate(certificate: ServingCertificate): void;
}

const renewEveryMs = 10_000;
const definitionsResource = 'apiextensions.k8s.io/customresourcedefinitions';
const apiServicesResource = 'apiregistration.k8s.io/apiservices';

/** A server that does not listen yet. */
export function createSimulatedServer(options: SimulatedServerOptions, around: ServerSurroundings): SimulatedServer {
  const { store, clock } = around;
  const { name, legacyOnly = false, without = [], definitionDelayMs = 0, clockSkewMs = 0 } = options;
  const leaseName = identityLeaseName(name);
  const seen: SeenRequest[] = [];
  let handshakes = 0;
  let version = options.version;
  let apis = createServedApis(version, without);
  let certificate = around.certificate;
  let draining = false;
  let life: { readonly server: RequestServer; readonly ended: AbortController } | undefined;
  const addressOf = () => `${around.address}:${around.port()}`;
  const profile = () => versionProfile(version, legacyOnly);

  function react(request: SimulatedRequest): Reaction {
    const { fault } = self;
    if (fault?.kind === 'hang') return { kind: 'silence' };
    const isDiscovery = /^\/apis?(\/|$)/.test(request.path) && request.path.split('/').length <= 4;
    if (fault?.kind === 'garbage' && isDiscovery && /^\/apis?\/?$/.test(request.path))
      return { kind: 'bytes', ...garbageBytes(fault.body) };
    return { kind: 'answer', answer: answer(request), delayMs: fault?.kind === 'slow' ? fault.delayMs : 0 };
  }

  function answer(request: SimulatedRequest) {
    const { fault } = self;
    const text = (status: number, body: string) => ({ kind: 'text' as const, status, text: body });
    switch (request.path) {
      case '/readyz':
        return draining || fault?.kind === 'notReady'
          ? text(500, '[+]ping ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n')
          : text(200, 'ok');
      case '/livez':
      case '/healthz':
        return text(200, 'ok');
      case '/version': {
        const [major, minor] = version.split('.');
        return answerObject({
          major,
          minor,
          gitVersion: profile().gitVersion,
          gitTreeState: 'simulated',
          platform: '',
        });
      }
      case '/openapi/v3':
        return answerObject({ paths: {} });
      default: {
        const groups = fault?.kind === 'lie' ? applyLie(apis.groups(), fault) : apis.groups();
        const isRead = request.method === 'GET' || request.method === 'HEAD';
        const discovery = isRead ? answerDiscovery(request, groups, profile(), addressOf()) : undefined;
        return discovery ?? answerResource(request, { apis, store, users: around.users }, clock.date() + clockSkewMs);
      }
    }
  }

  function take(resource: string, objectName: string, object: StoredObject | undefined): void {
    if (resource === definitionsResource) apis.define(objectName, object);
    if (resource !== apiServicesResource) return;
    const spec = object?.spec as { group?: string; version?: string; service?: object } | undefined;
    if (spec?.service === undefined) {
      apis.aggregate(objectName, undefined);
      return;
    }
    const { group = '', version: of = '' } = spec;
    const discovery = around.extensions.get(`${group}/${of}`) ?? { version: of, freshness: 'Stale' };
    apis.aggregate(objectName, { group, discovery });
  }

  function follow(event: StoreEvent, ended: AbortSignal): void {
    if (event.resource !== definitionsResource && event.resource !== apiServicesResource) return;
    const object = event.type === 'DELETED' ? undefined : event.object;
    const late = () => take(event.resource, event.object.metadata.name, object);
    if (definitionDelayMs === 0) late();
    else
      void clock.sleep(definitionDelayMs, ended).then(() => {
        if (!ended.aborted) late();
      });
  }

  function renewLease(holder: string): void {
    const key = { resource: 'coordination.k8s.io/leases', namespace: 'kube-system', name: leaseName };
    const microTime = new Date(clock.date() + clockSkewMs).toISOString().replace('Z', '000Z');
    store.put(key, {
      metadata: {
        name: leaseName,
        labels: { 'apiserver.kubernetes.io/identity': 'kube-apiserver', 'kubernetes.io/hostname': name },
        ...(profile().annotatesLease && {
          annotations: { 'kubernetes.io/peer-advertise-address': addressOf() },
        }),
      },
      spec: { holderIdentity: holder, leaseDurationSeconds: 3600, renewTime: microTime },
    });
  }

  function registerOwnServices(): void {
    for (const { name: group, versions = [] } of createServedApis(version, without).groups())
      for (const { version: of } of versions) {
        const objectName = `${of}.${group}`;
        const key = { resource: apiServicesResource, namespace: '', name: objectName };
        if (store.get(key) !== undefined) continue;
        const labels = { 'kube-aggregator.kubernetes.io/automanaged': 'onstart' };
        store.put(key, { metadata: { name: objectName, labels }, spec: { group, version: of } });
      }
  }

  async function live(ended: AbortSignal): Promise<void> {
    const holder = `${leaseName}_${randomUUID()}`;
    while (!ended.aborted) {
      renewLease(holder);
      around.announce(around.address, true);
      await clock.sleep(renewEveryMs, ended);
    }
  }

  const self: SimulatedServer = {
    name,
    get version() {
      return version;
    },
    get address() {
      return addressOf();
    },
    get url() {
      return `https://${addressOf()}`;
    },
    get running() {
      return life !== undefined;
    },
    fault: undefined,
    seen,
    get handshakes() {
      return handshakes;
    },
    serves: () => apis.groups(),
    async start(next) {
      if (life !== undefined) return;
      version = next ?? version;
      apis = createServedApis(version, without);
      draining = false;
      const ended = new AbortController();
      const server = createRequestServer({
        certificate,
        users: around.users,
        react,
        onSeen: (request) => seen.push(request),
        onHandshake: () => {
          handshakes += 1;
        },
        clock,
      });
      life = { server, ended };
      around.onListening(await server.listen(around.address, around.port()));
      for (const resource of [definitionsResource, apiServicesResource])
        for (const object of store.list(resource)) take(resource, object.metadata.name, object);
      const unlisten = store.listen((event) => follow(event, ended.signal));
      ended.signal.addEventListener('abort', unlisten, { once: true });
      registerOwnServices();
      void live(ended.signal);
    },
    async stop(drainMs = 0) {
      if (life === undefined) return;
      const { server, ended } = life;
      draining = true;
      around.announce(around.address, false);
      await clock.sleep(drainMs, ended.signal);
      if (life?.server !== server) return;
      life = undefined;
      ended.abort();
      if (profile().deletesLease)
        store.delete({ resource: 'coordination.k8s.io/leases', namespace: 'kube-system', name: leaseName });
      await server.drain();
    },
    async kill() {
      if (life === undefined) return;
      const { server, ended } = life;
      life = undefined;
      ended.abort();
      await server.crash();
    },
    useCertificate(next) {
      certificate = next;
      life?.server.useCertificate(next);
      life?.server.cut();
    },
  };
  return self;
}
