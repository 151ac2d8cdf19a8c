import { expect } from 'chai';
import { bundleOf, keepCertificates, renewAuthority, whyRenew } from '../../src/operator/keep-certificates.ts';
import type { Authority, CertificateStore } from '../../src/operator/ports.ts';
import { readCertificates, readPair } from '../../src/runtime/certificates.ts';
import type { CertificatePair } from '../../src/runtime/issue-certificate.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from '../support/manual-clock.ts';

const dayMs = 24 * 3_600_000;
const now = Date.UTC(2030, 0, 1);
function setUp(lifetimeMs = 90 * dayMs, authority?: Authority) {
  const clock = createManualClock(now);
  const stopping = new AbortController();
  const state = {
    authority,
    published: new Map<string, string>(),
    serving: new Map<string, CertificatePair>(),
    writes: [] as string[],
    nodes: ['192.0.2.1', 'node-1'],
    failing: undefined as string | undefined,
    errors: [] as unknown[],
  };
  const write = (what: string) => {
    if (state.failing === what) throw new Error(`no ${what}`);
    state.writes.push(what);
  };
  const store: CertificateStore = {
    readAuthority: async () => state.authority,
    writeAuthority: async (_namespace, authority) => {
      write('authority');
      state.authority = authority;
    },
    publishAuthority: async (namespace, bundle) => {
      if (state.published.get(namespace) === bundle) return;
      write(`bundle ${namespace}`);
      state.published.set(namespace, bundle);
    },
    readServing: async (namespace, secret) => state.serving.get(`${namespace}/${secret}`),
    writeServing: async (namespace, secret, pair) => {
      write(`${namespace}/${secret}`);
      state.serving.set(`${namespace}/${secret}`, pair);
    },
    readNodeAddresses: async () => state.nodes,
  };
  const wanted = [
    { namespace: 'system', secret: 'tls', names: ['a.example', '2001:db8::1'] },
    { namespace: 'front', secret: 'tls', names: ['control-plane-nodes'] },
  ];
  const log = { ...silentLog, error: (_message: string, fields?: object) => void state.errors.push(fields) };
  const running = keepCertificates({
    ...{ store, namespace: 'system', wanted, lifetimeMs, clock, log, signal: stopping.signal },
  });
  const pair = (name: string) => state.serving.get(name) ?? expect.fail(`${name} is missing`);
  return {
    clock,
    state,
    pair,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

describe('the certificates that the operator keeps', () => {
  it('are created once, with the CA published before it signs, and left unchanged while they are valid', async () => {
    const { clock, state, pair, stop } = setUp();
    await clock.advance(1);
    expect(state.writes).to.deep.equal(['authority', 'bundle system', 'system/tls', 'bundle front', 'front/tls']);
    const [ca] = readCertificates(state.published.get('front') ?? '');
    for (const name of state.serving.keys())
      expect(readPair(pair(name)).verify(ca?.publicKey ?? expect.fail())).to.equal(true);
    await clock.advance(10 * 60_000);
    expect(state.writes).to.have.length(5);
    await stop();
  });

  it('are renewed at two thirds of their life, by the same CA', async () => {
    const { clock, state, pair, stop } = setUp(30 * 60_000);
    await clock.advance(1);
    const before = pair('system/tls').cert;
    await clock.advance(19 * 60_000);
    expect(pair('system/tls').cert).to.equal(before);
    const bundle = state.published.get('system');
    await clock.advance(2 * 60_000);
    expect(pair('system/tls').cert).not.to.equal(before);
    expect(state.published.get('system')).to.equal(bundle);
    await stop();
  });

  it('follow the Nodes, and come back when they are deleted or overwritten', async () => {
    const { clock, state, pair, stop } = setUp();
    await clock.advance(1);
    state.nodes.push('192.0.2.2');
    state.serving.set('system/tls', { cert: 'nonsense', key: 'nonsense' });
    await clock.advance(61_000);
    expect(readPair(pair('front/tls')).subjectAltName).to.contain('192.0.2.2');
    expect(readPair(pair('system/tls')).subjectAltName).to.equal('IP Address:2001:DB8:0:0:0:0:0:1, DNS:a.example');
    state.serving.clear();
    await clock.advance(61_000);
    expect([...state.serving.keys()]).to.deep.equal(['system/tls', 'front/tls']);
    await stop();
  });

  it('are created in one namespace while another fails, and the failure is reported once', async () => {
    const { clock, state, stop } = setUp();
    state.failing = 'bundle front';
    await clock.advance(5 * 60_000);
    expect(state.errors).to.deep.equal([{ what: 'front/tls', why: 'no bundle front' }]);
    expect([...state.serving.keys()]).to.deep.equal(['system/tls']);
    state.failing = undefined;
    await clock.advance(61_000);
    expect([...state.serving.keys()]).to.deep.equal(['system/tls', 'front/tls']);
    await stop();
  });

  it('leave an unusable CA unchanged, and report it', async () => {
    const broken = { signing: { cert: 'theirs', key: 'theirs' } };
    const { clock, state, stop } = setUp(90 * dayMs, broken);
    await clock.advance(61_000);
    expect(state.authority).to.equal(broken);
    expect(JSON.stringify(state.errors)).to.contain('delete it, and the operator makes a new CA');
    expect(state.errors).to.have.length(1);
    await stop();
  });
});

describe('the CA that the operator keeps', () => {
  const first = renewAuthority(undefined, now);
  const end = readPair(first.signing).validToDate.getTime();

  it('has a successor that is published a month before it signs, and is trusted until its own end', () => {
    expect(renewAuthority(first, end - 366 * dayMs)).to.equal(first);
    const at = end - 364 * dayMs;
    const announced = renewAuthority(first, at);
    expect(announced.signing).to.equal(first.signing);
    expect(readCertificates(bundleOf(announced, at))).to.have.length(2);
    expect(renewAuthority(announced, at + 29 * dayMs)).to.equal(announced);
    const changed = renewAuthority(announced, at + 31 * dayMs);
    expect(changed.signing).to.equal(announced.next);
    expect(readCertificates(bundleOf(changed, at + 31 * dayMs))).to.have.length(2);
    expect(readCertificates(bundleOf(changed, end + 1))).to.have.length(1);
    expect(renewAuthority(changed, end + 1)).to.equal(changed);
  });

  it('is replaced at once if it was not renewed before its end', () => {
    const fresh = renewAuthority(first, end + 1);
    expect(fresh.signing).not.to.equal(first.signing);
    expect(readPair(fresh.signing).validToDate.getTime()).to.be.greaterThan(end);
  });

  it("is not taken for the signer of another CA's certificate with the same name", () => {
    const other = renewAuthority(undefined, now);
    expect(whyRenew(first.signing, [], other, 90 * dayMs, now)).to.equal('the CA has not issued it');
  });
});
