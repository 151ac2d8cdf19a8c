import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureControlPlane } from '../build/build-control-plane.ts';
import { type MixedPlane, type RunProxyAs, startMixedPlane } from '../plane/mixed-plane.ts';
import { repository } from '../repository.ts';
import { waitUntil } from '../wait-until.ts';
import type { AttackScene } from './measure-attack.ts';

/** A proxy in front of real servers, and users that it knows. */
export interface ProxyScene extends Omit<AttackScene, 'seconds'> {
  readonly mixed: MixedPlane;
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
  mixed.startOperator();
  const proxy = mixed.startProxy([], as);
  await waitUntil('a routed answer', async () => {
    const claims = ['get', '--raw', '/apis/resource.k8s.io/v1/resourceclaims'];
    return (await mixed.kubectl('proxy', claims)).code === 0;
  });
  if (proxy.pid === undefined) throw new Error('the proxy did not start');
  const { caFile, tokens } = mixed.plane;
  return {
    mixed,
    url: mixed.proxyUrl,
    caFile,
    tokens: [tokens.admin, tokens.reader],
    paths: ['/version', '/apis', '/api/v1', '/apis/apps/v1'],
    proxyPid: proxy.pid,
    now: () => performance.now(),
  };
}

/** The same scene for attacks of this many seconds each. */
export async function startAttackScene(
  seconds: number,
  log: (message: string) => void,
): Promise<ProxyScene & Pick<AttackScene, 'seconds'>> {
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
