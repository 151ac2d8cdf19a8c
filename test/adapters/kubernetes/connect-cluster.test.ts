import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { loadKubeConfig } from '../../../src/adapters/kubernetes/connect-cluster.ts';
import { readEnvironment } from '../../../src/flags/environment.ts';
import { silentLog } from '../../../src/runtime/log.ts';

describe('loadKubeConfig', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  async function write(file: string, server: string, extra: Record<string, unknown> = {}): Promise<string> {
    const path = join(directory, file);
    const config = {
      'current-context': file,
      clusters: [{ name: file, cluster: { server } }],
      users: [{ name: file, user: { tokenFile: 'token' } }],
      contexts: [{ name: file, context: { cluster: file, user: file } }],
      ...extra,
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  it('prefers the flag to KUBECONFIG, and KUBECONFIG to the Pod', async () => {
    const flag = await write('flag', 'https://flag');
    const first = await write('first', 'https://first');
    const second = await write('second', 'https://second');
    const environment = readEnvironment({
      KUBECONFIG: `${first}:${second}`,
      KUBERNETES_SERVICE_HOST: 'h',
      KUBERNETES_SERVICE_PORT: '443',
    });
    expect(loadKubeConfig({ kubeconfig: flag, environment }).getCurrentCluster()?.server).to.equal('https://flag');
    const merged = loadKubeConfig({ environment });
    expect(merged.getCurrentCluster()?.server).to.equal('https://first');
    expect(merged.getClusters()).to.have.length(2);
  });

  it('uses the ServiceAccount of the Pod', async () => {
    for (const file of ['token', 'ca.crt', 'namespace']) await writeFile(join(directory, file), file);
    const environment = readEnvironment({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' });
    const kubeConfig = loadKubeConfig({ environment, serviceAccountPath: directory });
    expect(kubeConfig.getCurrentCluster()?.server).to.equal('https://[fd00::1]:443');
    expect(kubeConfig.getContextObject(kubeConfig.getCurrentContext())?.namespace).to.equal('namespace');
    const client = createApiClient(kubeConfig, { timeoutMs: 100, log: silentLog });
    expect(await client.credentials()).to.deep.equal({ token: 'token' });
    expect(client.caPem()).to.equal('ca.crt');
  });

  it('reads the token file of a user, relative to the kubeconfig', async () => {
    await writeFile(join(directory, 'token'), 'from-file\n');
    const kubeConfig = loadKubeConfig({ kubeconfig: await write('a', 'https://a'), environment: readEnvironment({}) });
    const client = createApiClient(kubeConfig, { timeoutMs: 100, log: silentLog });
    expect(await client.credentials()).to.deep.equal({ token: 'from-file' });
  });

  it('names the cure when there is nothing to load', async () => {
    expect(() => loadKubeConfig({ environment: readEnvironment({}), serviceAccountPath: directory })).to.throw(
      'pass --kubeconfig PATH',
    );
    expect(() => loadKubeConfig({ kubeconfig: join(directory, 'absent'), environment: readEnvironment({}) })).to.throw(
      'absent',
    );
    const broken = await write('broken', 'https://b', { 'current-context': 'other' });
    expect(() => loadKubeConfig({ kubeconfig: broken, environment: readEnvironment({}) })).to.throw(
      'set it to one of: broken',
    );
  });
});
