import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../src/adapters/kubernetes/api-client.ts';
import type { ServerAddress } from '../../src/adapters/kubernetes/known-servers-file.ts';
import { rememberServers } from '../../src/adapters/kubernetes/remember-servers.ts';
import { createAddressPolicy } from '../../src/adapters/peers/address-policy.ts';
import { followStatuses } from '../../src/bin/follow-statuses.ts';
import { type Log, silentLog } from '../../src/runtime/log.ts';
import { createManualClock, eventually } from '../support/manual-clock.ts';
import { type ScriptedApiserver, startScriptedApiserver } from '../support/scripted-apiserver.ts';

const serverName = 'kubernetes.default.svc';
const at = (...addresses: string[]): ServerAddress[] => addresses.map((address) => ({ address, serverName }));
const [a, b, c] = ['10.0.0.1:6443', '10.0.0.2:6443', '10.0.0.3:6443'] as const;

describe('rememberServers', () => {
  let folder: string;
  let file: string;
  let told: (readonly ServerAddress[])[];
  let warnings: string[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'known-servers-'));
    file = join(folder, 'servers.json');
    told = [];
    warnings = [];
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  function start(path: string | undefined = file) {
    const log: Log = { ...silentLog, warn: (message) => warnings.push(message) };
    const client = { learnServers: (servers: readonly ServerAddress[]) => told.push(servers) };
    return rememberServers({ client, file: path, policy: createAddressPolicy([]), log });
  }

  it('starts with the servers that an earlier process knew', () => {
    start().learn('cluster', at(b, a));
    start();
    expect(told).to.deep.equal([at(a, b), at(a, b)]);
    expect(readdirSync(folder)).to.deep.equal(['servers.json']);
  });

  it('reports and writes only changes', () => {
    const servers = start();
    servers.learn('cluster', at(a, b));
    writeFileSync(file, 'touched');
    servers.learn('cluster', at(b, a));
    expect(told).to.have.length(1);
    expect(readFileSync(file, 'utf8')).to.equal('touched');
    servers.learn('cluster', at(a, b, c));
    expect(told.at(-1)).to.deep.equal(at(a, b, c));
    expect(JSON.parse(readFileSync(file, 'utf8'))).to.deep.equal({ servers: at(a, b, c) });
  });

  it('unites the servers of several sources, and drops one that is gone', () => {
    const servers = start();
    servers.learn('blue', at(a, b));
    servers.learn('green', at(b, c));
    servers.learn('blue', at(a, b));
    expect(told).to.deep.equal([at(a, b), at(a, b, c)]);
    servers.forget('green');
    expect(told.at(-1)).to.deep.equal(at(a, b));
  });

  it('keeps its servers if a source knows none, and if the last source is gone', () => {
    const servers = start();
    servers.learn('cluster', at(a));
    servers.learn('cluster', []);
    servers.forget('cluster');
    expect(told).to.deep.equal([at(a)]);
    expect(JSON.parse(readFileSync(file, 'utf8'))).to.deep.equal({ servers: at(a) });
  });

  it('takes no forbidden address from the file', () => {
    writeFileSync(file, JSON.stringify({ servers: at(a, '127.0.0.1:6443', 'metadata.example:80', '10.0.0.9') }));
    start();
    expect(told).to.deep.equal([at(a)]);
  });

  it('needs no file, and does not log that one is missing', () => {
    start().learn('cluster', at(a));
    start(undefined);
    expect(warnings).to.deep.equal([]);
    rmSync(file);
    start();
    expect(warnings).to.deep.equal([]);
  });

  for (const text of ['', '[]', '{"servers": ["10.0.0.1:6443"]}', '{"servers": [null]}'])
    it(`reports that a file which holds ${text || 'nothing'} cannot be read, and continues`, () => {
      writeFileSync(file, text);
      start().learn('cluster', at(a));
      expect(warnings).to.deep.equal(['cannot read the known kube-apiservers from --known-servers-file']);
      expect(told).to.deep.equal([at(a)]);
    });

  it('reports that the file cannot be written, and uses the servers', () => {
    start(join(folder, 'no', 'folder')).learn('cluster', at(a));
    expect(warnings).to.deep.equal(['cannot write the known kube-apiservers to --known-servers-file']);
    expect(told).to.deep.equal([at(a)]);
  });
});

describe('followStatuses', () => {
  const path = '/apis/peerdiscovery.dev/v1alpha1/peerdiscoveries';
  let server: ScriptedApiserver;
  let client: ApiClient;
  let stop: AbortController;
  let known: Map<string, readonly ServerAddress[]>;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1_000, log: silentLog });
    stop = new AbortController();
    known = new Map();
  });

  afterEach(async () => {
    stop.abort();
    await client.close();
    await server.close();
  });

  function put(name: string, spec: object, addresses: readonly string[]) {
    const peers = addresses.map((address, index) => ({ id: `p${index}`, address, state: 'Ready', reason: 'Ready' }));
    const refused = { id: 'x', address: '10.0.0.66:6443', state: 'Refused', reason: 'CertificateRefused' };
    server.put(`${path}/${name}`, { metadata: { name }, spec, status: { peers: [...peers, refused] } });
  }

  async function follow() {
    followStatuses({
      client,
      servers: {
        learn: (source, servers) => void known.set(source, servers),
        forget: (source) => void known.delete(source),
      },
      namespace: 'ns',
      clock: createManualClock(),
      log: silentLog,
      signal: stop.signal,
      random: () => 0.5,
    });
    await eventually(() => server.watches.length > 0);
  }

  it('learns the servers of every object, by name, as long as the object exists', async () => {
    put('blue', {}, [a, b]);
    put('green', { tls: { serverName: 'api.example' } }, [c]);
    await follow();
    expect([...known]).to.deep.equal([
      ['blue', at(a, b)],
      ['green', [{ address: c, serverName: 'api.example' }]],
    ]);
    put('blue', {}, [a]);
    server.remove(`${path}/green`);
    await eventually(() => known.size === 1);
    expect([...known]).to.deep.equal([['blue', at(a)]]);
  });

  it('learns no address that the spec forbids, and no server that is not a kube-apiserver', async () => {
    put('blue', { addresses: { allowedCIDRs: ['10.0.0.2/32'] } }, [a, b]);
    put('other', { leases: { labelSelector: 'app=other' } }, [c]);
    await follow();
    expect([...known]).to.deep.equal([
      ['blue', at(b)],
      ['other', []],
    ]);
  });
});
