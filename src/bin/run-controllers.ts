import PQueue from 'p-queue';
import type { ApiClient } from '../adapters/kubernetes/api-client.ts';
import { watchBehindReports } from '../adapters/kubernetes/behind-report.ts';
import { createBundleStore } from '../adapters/kubernetes/bundle-store.ts';
import type { EventRecorder } from '../adapters/kubernetes/events.ts';
import { referenceTo } from '../adapters/kubernetes/owner-reference.ts';
import {
  fieldManager,
  peerDiscoveriesPath,
  writePeerDiscoveryStatus,
} from '../adapters/kubernetes/peer-discovery-status.ts';
import { type Reflector, startReflector, type Watchable } from '../adapters/kubernetes/reflector.ts';
import { reflectorCheck } from '../adapters/kubernetes/reflector-check.ts';
import { reportStandstill } from '../adapters/kubernetes/report-standstill.ts';
import { measurePeerClient } from '../adapters/metrics/measure-peer-client.ts';
import type { Metrics } from '../adapters/metrics/operator-metrics.ts';
import { createAddressPolicy } from '../adapters/peers/address-policy.ts';
import { createPeerClient } from '../adapters/peers/peer-client.ts';
import type { ReadinessCheck } from '../adapters/serving/http-endpoint.ts';
import { parseDuration } from '../api/duration.ts';
import type { PeerDiscovery } from '../api/peer-discovery.ts';
import { addressWatches, pathOfWatch } from '../domain/address-watches.ts';
import type { ApiServiceObject, CustomResourceDefinitionObject } from '../domain/custom-resources.ts';
import { type LeaseObject, leasesSilentMs } from '../domain/identity-lease.ts';
import { type Controller, startController } from '../operator/controller.ts';
import { followObjects, type GoodSettings, type RunningController } from '../operator/follow-objects.ts';
import type { AddressObjects } from '../operator/gather-addresses.ts';
import type { ClusterSets } from '../operator/ports.ts';
import type { StatusSnapshot } from '../operator/status-page/build-report.ts';
import { createProgressHistory } from '../operator/status-page/progress-history.ts';
import { type Clock, dateOf } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { version } from './version.ts';

/** State that the controllers of all PeerDiscovery objects share. */
export interface ControllersContext {
  readonly client: ApiClient;
  /** This process's identity among candidates. */
  readonly identity: string;
  /** The operator's own namespace. */
  readonly namespace: string;
  readonly metrics: Metrics;
  readonly recorder: EventRecorder;
  /** Readiness checks, by name. */
  readonly checks: Map<string, ReadinessCheck>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Receives a function that reads the controllers' knowledge; undefined once they have ended. */
  readonly onObservable: (read: (() => Observed) | undefined) => void;
}

/** The controllers' present knowledge, for the status page. */
export type Observed = Pick<StatusSnapshot, 'objects' | 'trouble'>;

/** Runs one controller per PeerDiscovery object until the signal aborts, and restarts it when its spec changes. */
export async function runControllers(context: ControllersContext): Promise<void> {
  const { client, clock, log, random, signal } = context;
  const history = createProgressHistory();
  const everyController = (act: (controller: Controller) => void) => () => {
    for (const controller of follower.controllers()) act(controller);
  };
  const notifyAll = everyController((controller) => controller.notify());
  const definitionsChanged = everyController((controller) => controller.definitionsChanged());
  const reflect = <T>(
    path: string,
    onChange: () => void,
    selectors: { labelSelector?: string; fieldSelector?: string } = {},
  ) => startReflector<T & Watchable>({ client, path, onChange, clock, log, signal, random, ...selectors });

  const watchAddresses = <Name extends keyof AddressObjects>(name: Name) => {
    const watch = addressWatches[name];
    return reflect<AddressObjects[Name]>(pathOfWatch(watch), notifyAll, { labelSelector: watch.labelSelector });
  };
  const shared = {
    pods: watchAddresses('pods'),
    nodes: watchAddresses('nodes'),
    endpointSlices: watchAddresses('endpointSlices'),
    crds: reflect<CustomResourceDefinitionObject>(
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
      definitionsChanged,
    ),
    apiServices: reflect<ApiServiceObject>('/apis/apiregistration.k8s.io/v1/apiservices', definitionsChanged),
  };
  const follower = followObjects({
    namespace: context.namespace,
    createAddressPolicy,
    start,
    forget: (name) => {
      context.metrics.forget(name);
      history.forget(name);
    },
    reportInvalidSpec: (object, standstill) =>
      reportStandstill(
        { client, recorder: context.recorder, date: clock.date, signal },
        object,
        standstill,
        'Reconcile',
      ),
    log,
    signal,
  });
  const objects: Reflector<PeerDiscovery & Watchable> = startReflector<PeerDiscovery & Watchable>({
    client,
    path: peerDiscoveriesPath,
    clock,
    log,
    signal,
    random,
    onChange: () => follower.follow(objects.items()),
  });
  context.checks.set('peerdiscoveries', reflectorCheck('peerdiscoveries', objects));

  function start(
    object: PeerDiscovery,
    { settings, spec, caPem }: GoodSettings,
    known: ReturnType<Controller['observations']> | undefined,
  ): RunningController {
    const { name } = settings;
    const stopping = new AbortController();
    const ownSignal = AbortSignal.any([stopping.signal, signal]);
    const ownLog = log.child({ peerdiscovery: name });
    const peers = createPeerClient({
      ca: () => caPem ?? client.caPem(),
      serverName: settings.serverName,
      credentials: () => client.credentials(),
      timeoutMs: parseDuration(spec.polling.timeout),
      userAgent: fieldManager,
      onConnectionLost: (address: string) => controller.askNow(address),
      onCertificate: (address, notAfter) => context.metrics.observeCertificate(name, address, notAfter),
      log: ownLog,
    });
    const leases = startReflector<LeaseObject & Watchable>({
      client,
      path: `/apis/coordination.k8s.io/v1/namespaces/${spec.leases.namespace}/leases`,
      labelSelector: spec.leases.labelSelector,
      onChange: () => controller.notify(),
      watchdogMs: leasesSilentMs,
      clock,
      log: ownLog,
      signal: ownSignal,
      random,
    });
    const sets: ClusterSets = { ...shared, leases };
    const controller = startController({
      settings,
      sets,
      client: measurePeerClient(peers, context.metrics, name),
      fetches: new PQueue({ concurrency: spec.polling.concurrency }),
      bundles: createBundleStore({
        client,
        location: settings.routingTable,
        owner: name,
        ownerReference: referenceTo(object),
        fieldManager,
        holder: context.identity,
        operatorVersion: version,
        clock,
        signal,
      }),
      status: { write: (status) => writePeerDiscoveryStatus(client, name, status, signal) },
      recordEvent: (type, reason, message) =>
        void context.recorder.record(referenceTo(object), type, reason, message, 'Reconcile'),
      observePass: (views, unified, revision) => {
        context.metrics.observe(name, views, unified, revision, (at) => dateOf(clock, at));
        history.record(name, views, unified, clock.now());
      },
      observeReconcile: (result, seconds) => context.metrics.observeReconcile('peerdiscovery', result, seconds),
      clock,
      random,
      log: ownLog,
      ...(known !== undefined && { known }),
      initialStatus: object.status,
    });
    watchBehindReports({
      client,
      ...settings.routingTable,
      fieldManager,
      ownerReference: referenceTo(object),
      onBehind: (address) => controller.askNow(address),
      onAsked: (question) => controller.confirmationAsked(question),
      clock,
      log: ownLog,
      signal: ownSignal,
      random,
    });
    return {
      controller,
      async stop() {
        stopping.abort();
        await controller.stop();
        peers.close();
      },
    };
  }

  context.onObservable(() => ({
    trouble: objects.failing && `cannot read from the API server: ${objects.failing.message}`,
    objects: [...objects.items()].map(([name, { status }]) => ({
      name,
      status,
      live: follower.controllerOf(name)?.live(),
      history: history.of(name),
    })),
  }));
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  context.onObservable(undefined);
  // A process that no longer leads knows nothing more about the peers.
  for (const name of await follower.stop()) context.metrics.forget(name);
  context.checks.delete('peerdiscoveries');
}
