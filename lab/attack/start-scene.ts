import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureControlPlane } from '../build/build-control-plane.ts';
import { type MixedPlane, type RunProxyAs, startMixedPlane } from '../plane/mixed-plane.ts';
import { repository } from '../repository.ts';
import { waitUntil } from '../wait-until.ts';
import type { DoorScene, Visitor } from './measure-door-attack.ts';
import type { Victim } from './open-connections.ts';

/** A proxy in front of real servers, and users that it knows. */
export interface ProxyScene extends Omit<DoorScene, 'seconds'> {
  readonly mixed: MixedPlane;
}

const host = '127.0.0.1';
/** By default. */
const healthPorts = { operator: 8080, proxy: 8081 };
const metricsPorts = { operator: 8443, proxy: 8444 };

/** Kubelets, Prometheus, and a reader of the status page. */
function visitorsOf(token: string): readonly Visitor[] {
  const health = (port: number): Victim => ({ host, port, isSecure: false });
  const metrics = (port: number): Victim => ({ host, port, isSecure: true });
  return [
    ...(['operator', 'proxy'] as const).flatMap((component) => [
      { name: `the kubelet of the ${component}`, door: health(healthPorts[component]), path: '/livez' },
      { name: `the scrape of the ${component}`, door: metrics(metricsPorts[component]), path: '/metrics', token },
    ]),
    { name: 'the reader of the status page', door: metrics(metricsPorts.operator), path: '/status', token },
  ];
}

/**
 * Starts two real servers, an operator, and a proxy with its default flags. `as` is the command that runs the proxy.
 */
export async function startProxyScene(log: (message: string) => void, as: RunProxyAs = {}): Promise<ProxyScene> {
  await ensureControlPlane({ versions: ['1.36'], log });
  const mixed = await startMixedPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
      { name: 'new-1', version: '1.36' },
    ],
    home: 'old-1',
    log,
  });
  await letProxyReview(mixed);
  const operator = mixed.startOperator(['--metrics-bind-address', `${host}:${metricsPorts.operator}`]);
  const proxy = mixed.startProxy(['--metrics-bind-address', `${host}:${metricsPorts.proxy}`], as);
  await waitUntil('a routed answer', async () => {
    const claims = ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims'];
    return (await mixed.kubectl('proxy', claims)).code === 0;
  });
  if (proxy.pid === undefined || operator.pid === undefined) throw new Error('a program did not start');
  const { caFile, tokens } = mixed.plane;
  return {
    mixed,
    url: mixed.proxyUrl,
    caFile,
    tokens: [tokens.admin, tokens.reader],
    paths: ['/version', '/apis', '/api/v1', '/apis/apps/v1'],
    visitors: visitorsOf(tokens.admin),
    proxyPid: proxy.pid,
    pids: [operator.pid, proxy.pid],
    now: () => performance.now(),
  };
}

/** As the monitoring component does: a proxy asks who may read its metrics. */
async function letProxyReview({ kubectl }: MixedPlane): Promise<void> {
  const subject = '--serviceaccount=peerdiscovery-system:peerdiscovery-proxy';
  const args = ['create', 'clusterrolebinding', 'proxy-reviews', '--clusterrole=system:auth-delegator', subject];
  const { code, stderr } = await kubectl('old-1', args);
  if (code !== 0) throw new Error(stderr);
}

/** The same scene for attacks of this many seconds each. */
export async function startAttackScene(
  seconds: number,
  log: (message: string) => void,
): Promise<ProxyScene & DoorScene> {
  return { ...(await startProxyScene(log)), seconds };
}

/** The memory limit of the proxy in the chart. */
export function chartLimitBytes(): number {
  const values = readFileSync(join(repository, 'charts/peerdiscovery/values.yaml'), 'utf8');
  const proxy = values.slice(values.indexOf('\nproxy:'));
  const mebibytes = /limits:\n\s+memory: (\d+)Mi/.exec(proxy)?.[1];
  if (mebibytes === undefined) throw new Error('the chart sets no memory limit in Mi for the proxy');
  return Number(mebibytes) * 1024 * 1024;
}
