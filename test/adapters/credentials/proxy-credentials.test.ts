import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCredentials, type ProxyCredentials } from '../../../src/adapters/credentials/proxy-credentials.ts';
import { parseProxyFlags } from '../../../src/flags/proxy-flags.ts';
import type { FrontTls } from '../../../src/proxy/ports.ts';
import { readCertificates } from '../../../src/runtime/certificates.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createTestAuthority, type TestCertificate } from '../../support/test-certificates.ts';

describe('credentials of the proxy', () => {
  const authority = createTestAuthority('peers');
  const newAuthority = createTestAuthority('new-peers');
  const certificate = (commonName: string) => authority.issue({ commonName, usage: 'clientAuth' });
  const [serving, fresh, frontProxy, freshFrontProxy] = ['a', 'b', 'c', 'd'].map(certificate) as [
    TestCertificate,
    TestCertificate,
    TestCertificate,
    TestCertificate,
  ];
  let folder: string;
  let changed: Map<string, () => void>;
  let warnings: { message: string; fields: Record<string, unknown> }[];
  let expiries: Record<string, number>;
  let failures: string[];
  let fronts: FrontTls[];
  let stop: AbortController;
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const file = (name: string) => join(folder, name);
  const writePair = (name: string, { certPem, keyPem }: TestCertificate) => {
    write(`${name}.crt`, certPem);
    write(`${name}.key`, keyPem);
  };

  function load(mode: 'RequestHeader' | 'Impersonation'): ProxyCredentials {
    const tls = ['--tls-cert-file', file('serving.crt'), '--tls-private-key-file', file('serving.key')];
    const own =
      mode === 'RequestHeader'
        ? ['--proxy-client-cert-file', file('front-proxy.crt'), '--proxy-client-key-file', file('front-proxy.key')]
        : ['--impersonation-token-file', file('token')];
    const parsed = parseProxyFlags([
      ...tls,
      ...['--peer-ca-file', file('peer-ca.crt'), '--client-ca-file', file('client-ca.crt')],
      ...['--authentication-mode', mode, ...own],
    ]);
    if (parsed.kind !== 'flags') throw new Error(JSON.stringify(parsed));
    const loaded = loadCredentials(parsed.flags);
    if (loaded.kind !== 'credentials') throw new Error(loaded.problems.join('\n'));
    let now = 1_000_000;
    loaded.credentials.follow({
      metrics: {
        certificateExpiry: {
          set: ({ certificate: name }, seconds) => void Object.assign(expiries, { [name]: seconds }),
        },
        reloadFailures: { inc: ({ certificate: name }) => void failures.push(name) },
      },
      log: {
        debug: () => {},
        info: () => {},
        warn: (message, fields = {}) => void warnings.push({ message, fields }),
        error: () => {},
        child: () => silentLog,
      },
      now: () => (now += 60_000),
      onFrontTls: (tlsNow) => void fronts.push(tlsNow),
      signal: stop.signal,
      watch: (files, onChange) => {
        for (const path of files) changed.set(path.slice(folder.length + 1), onChange);
      },
    });
    return loaded.credentials;
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'proxy-credentials-'));
    [changed, warnings, expiries, failures, fronts] = [new Map(), [], {}, [], []];
    stop = new AbortController();
    writePair('serving', serving);
    writePair('front-proxy', frontProxy);
    write('peer-ca.crt', authority.caPem);
    write('client-ca.crt', authority.caPem);
    write('token', 'first\n');
  });
  afterEach(() => {
    stop.abort();
    rmSync(folder, { recursive: true });
  });

  it('are ready once the CAs of client certificates are known', () => {
    expect(load('RequestHeader').check()).to.include({ name: 'client-ca', ok: true });
    const files = ['--tls-cert-file', file('serving.crt'), '--tls-private-key-file', file('serving.key')];
    const own = [
      '--proxy-client-cert-file',
      file('front-proxy.crt'),
      '--proxy-client-key-file',
      file('front-proxy.key'),
    ];
    const args = [...files, '--peer-ca-file', file('peer-ca.crt'), '--authentication-mode=RequestHeader', ...own];
    const parsed = parseProxyFlags(args);
    const loaded = parsed.kind === 'flags' ? loadCredentials(parsed.flags) : undefined;
    if (loaded?.kind !== 'credentials') throw new Error(JSON.stringify([parsed, loaded]));
    const { credentials } = loaded;
    expect(credentials.check().ok).to.equal(false);
    const clientCa = readCertificates(authority.caPem);
    const headerNames = { user: [], uid: [], group: [], extraPrefix: [] };
    credentials.replaceAuthorities({ clientCa, requestHeaderCa: [], allowedNames: [], headerNames });
    expect(credentials.check().ok).to.equal(true);
  });

  it('are reloaded when their files change', () => {
    const credentials = load('RequestHeader');
    const before = credentials.peerTls.material('frontProxy')?.generation ?? 0;
    writePair('serving', fresh);
    changed.get('serving.crt')?.();
    write('client-ca.crt', newAuthority.caPem);
    changed.get('client-ca.crt')?.();
    expect(fronts.at(-1)?.cert).to.equal(fresh.certPem);
    expect(readCertificates(fronts.at(-1)?.clientCa?.join('\n') ?? '')[0]?.subject).to.equal('CN=new-peers');
    writePair('front-proxy', freshFrontProxy);
    changed.get('front-proxy.key')?.();
    expect(credentials.peerTls.material('frontProxy')?.generation).to.be.above(before);
    write('peer-ca.crt', newAuthority.caPem);
    changed.get('peer-ca.crt')?.();
    expect(credentials.peerTls.material('anonymous')?.generation).to.be.above(before + 1);
    expect(failures).to.deep.equal([]);
  });

  it('stay the last good ones when a new file is broken, with its name, age and error in the log', () => {
    const credentials = load('RequestHeader');
    const before = credentials.frontTls();
    const generation = credentials.peerTls.material('frontProxy')?.generation;
    for (const name of ['serving.key', 'front-proxy.crt', 'client-ca.crt', 'peer-ca.crt']) {
      write(name, 'broken');
      changed.get(name)?.();
    }
    expect(failures).to.deep.equal(['serving', 'front-proxy', 'client-ca', 'peer-ca']);
    expect(credentials.frontTls()).to.deep.equal(before);
    expect(credentials.peerTls.material('frontProxy')?.generation).to.equal(generation);
    expect(warnings[0]?.message).to.match(/--tls-cert-file and --tls-private-key-file.*last good one stays in use/);
    expect(warnings[0]?.fields.inUseForSeconds).to.be.above(0);
    expect(warnings[0]?.fields.why).to.be.a('string');
  });

  it('stay the last good ones while only one file of a pair has changed', () => {
    load('RequestHeader');
    write('serving.crt', fresh.certPem);
    changed.get('serving.crt')?.();
    expect(fronts).to.deep.equal([]);
    write('serving.key', fresh.keyPem);
    changed.get('serving.key')?.();
    expect(fronts.at(-1)?.cert).to.equal(fresh.certPem);
  });

  it('report when each expires', () => {
    load('RequestHeader');
    const expected = readCertificates(serving.certPem)[0]?.validToDate.getTime() ?? 0;
    expect(expiries.serving).to.equal(expected / 1_000);
    expect(expiries).to.have.all.keys('serving', 'front-proxy', 'client-ca', 'peer-ca');
  });

  it('include the token for impersonation, which is re-read, and kept when its file is emptied', () => {
    const { authentication } = load('Impersonation');
    const token = () => (authentication.kind === 'Impersonation' ? authentication.token() : undefined);
    expect(token()).to.equal('first');
    write('token', 'second\n');
    changed.get('token')?.();
    expect(token()).to.equal('second');
    write('token', '');
    changed.get('token')?.();
    expect(token()).to.equal('second');
    expect(failures).to.deep.equal(['impersonation-token']);
  });

  it('are all named with their flags if they cannot be used at the start', () => {
    write('serving.key', 'broken');
    write('client-ca.crt', '');
    rmSync(file('front-proxy.crt'));
    expect(() => load('RequestHeader')).to.throw(
      /--tls-cert-file and --tls-private-key-file: .*--proxy-client-cert-file.*: ENOENT.*--client-ca-file: there is no cert/s,
    );
  });
});
