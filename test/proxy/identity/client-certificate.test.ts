import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { isAnchored, readClientCertificate } from '../../../src/proxy/identity/client-certificate.ts';
import type { TestCertificate } from '../../support/test-certificates.ts';
import { authorityExtensions, issueTestCertificate } from '../../support/test-pki.ts';

const clientExtensions = ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=clientAuth'];
type Request = Partial<Parameters<typeof issueTestCertificate>[0]>;

const authority = (commonName: string, more: Request = {}) =>
  issueTestCertificate({ commonName, extensions: authorityExtensions, ...more });
const client = (issuer: TestCertificate, more: Request = {}) =>
  issueTestCertificate({ commonName: 'jane', issuer, extensions: clientExtensions, ...more });

describe('isAnchored', () => {
  // Here, because making certificates takes longer than all tests together.
  const root = authority('root');
  const other = authority('root');
  const intermediate = authority('intermediate', { issuer: root });
  const jane = client(root);
  const below = client(intermediate);
  const lower = authority('lower', { issuer: intermediate });
  const lowest = client(lower);
  const wrong = authority('intermediate', { issuer: root });
  const unknown = authority('unknown');
  const ofUnknown = client(unknown);
  const ofJane = client(jane);
  const expiredJane = client(root, { expired: true });
  const expiredRoot = authority('root', { keyOf: root, expired: true });
  const expiredIntermediate = authority('intermediate', { issuer: root, keyOf: intermediate, expired: true });
  const forServers = client(root, { extensions: ['extendedKeyUsage=serverAuth'] });
  const narrow = authority('narrow', { issuer: root, extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0'] });
  const tooLow = authority('low', { issuer: narrow });
  const narrowRoot = authority('narrow root', { extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0'] });
  const under = authority('under', { issuer: narrowRoot });
  const serverOnly = authority('server CA', {
    issuer: root,
    extensions: [...authorityExtensions, 'extendedKeyUsage=serverAuth'],
  });
  const ofNarrow = client(narrow);
  const ofTooLow = client(tooLow);
  const ofUnder = client(under);
  const ofServerOnly = client(serverOnly);
  const [one, two] = [authority('one'), authority('two')];
  const crossed = [authority('one', { keyOf: one, issuer: two }), authority('two', { keyOf: two, issuer: one })];
  const ofOne = client(one);
  const chain = [root];
  for (let depth = 0; depth < 9; depth++) chain.unshift(authority(`ca ${depth}`, { issuer: chain[0] ?? root }));
  const [belowEight, belowNine] = [8, 9].map((length) => {
    const sent = chain.slice(chain.length - 1 - length, -1);
    return [client(sent[0] ?? root), ...sent];
  });

  /** The verdict on a chain, first if OpenSSL has built one, then if it has not. */
  function judge(
    [leaf, ...sent]: readonly TestCertificate[],
    anchors: readonly TestCertificate[],
    at = Date.now(),
  ): readonly boolean[] {
    const read = ({ certPem }: TestCertificate) => new X509Certificate(certPem);
    if (leaf === undefined) throw new Error('a chain needs a leaf');
    return [true, false].map((chained) =>
      isAnchored({ leaf: read(leaf), intermediates: sent.map(read), chained, sha256: '' }, anchors.map(read), at),
    );
  }
  const [yes, no] = [
    [true, true],
    [false, false],
  ];

  it('takes a certificate that one of the CAs has signed, and none of another CA of that name', () => {
    expect(judge([jane], [root])).to.deep.equal(yes);
    expect(judge([jane], [other, root])).to.deep.equal(yes);
    expect(judge([jane], [other])).to.deep.equal(no);
    expect(judge([jane], [])).to.deep.equal(no);
  });

  it('takes a certificate that is listed itself', () => {
    expect(judge([jane], [jane])).to.deep.equal(yes);
    expect(judge([jane], [below])).to.deep.equal(no);
  });

  it('follows the intermediates that were sent, in any order', () => {
    expect(judge([below, intermediate], [root])).to.deep.equal(yes);
    expect(judge([below], [root])).to.deep.equal(no);
    expect(judge([below], [intermediate])).to.deep.equal(yes);
    expect(judge([below, other, intermediate], [root])).to.deep.equal(yes);
    for (const sent of [
      [lower, intermediate],
      [intermediate, lower],
    ])
      expect(judge([lowest, ...sent], [root])).to.deep.equal(yes);
    expect(judge([lowest, lower], [root])).to.deep.equal(no);
    expect(judge([lowest, lower], [intermediate])).to.deep.equal(yes);
  });

  it('takes nothing from an intermediate that did not sign, or that no CA is behind', () => {
    expect(judge([below, wrong], [root])).to.deep.equal(no);
    expect(judge([ofUnknown, unknown], [root])).to.deep.equal(no);
  });

  it('takes no certificate that signs without being a CA', () => {
    expect(judge([ofJane, jane], [root])).to.deep.equal(no);
  });

  it('checks the time of every certificate of the chain, to the millisecond', () => {
    const { validFromDate, validToDate } = new X509Certificate(jane.certPem);
    const [from, to] = [validFromDate.getTime(), validToDate.getTime()];
    // The root is as old as the leaf, or older.
    expect(judge([jane], [jane], from)).to.deep.equal(yes);
    expect(judge([jane], [jane], from - 1)).to.deep.equal(no);
    expect(judge([jane], [jane], to)).to.deep.equal(yes);
    expect(judge([jane], [jane], to + 1)).to.deep.equal(no);
    expect(judge([expiredJane], [root])).to.deep.equal(no);
    expect(judge([jane], [expiredRoot])).to.deep.equal(no);
    expect(judge([jane], [expiredRoot, root])).to.deep.equal(yes);
    expect(judge([below, expiredIntermediate], [root])).to.deep.equal(no);
    expect(judge([below, expiredIntermediate, intermediate], [root])).to.deep.equal(yes);
  });

  it('judges the uses of all certificates itself if OpenSSL has found no chain', () => {
    expect(judge([forServers], [root])).to.deep.equal([true, false]);
    expect(judge([ofNarrow, narrow], [root])).to.deep.equal(yes);
    expect(judge([ofTooLow, tooLow, narrow], [root])).to.deep.equal([true, false]);
    expect(judge([ofUnder, under], [narrowRoot])).to.deep.equal([true, false]);
    expect(judge([ofServerOnly, serverOnly], [root])).to.deep.equal([true, false]);
  });

  it('comes to an end if CAs have signed one another', () => {
    expect(judge([ofOne, ...crossed], [root])).to.deep.equal(no);
    expect(judge([ofOne, ...crossed], [two])).to.deep.equal(yes);
  });

  it('tries each intermediate once, even if each could have signed every other one', () => {
    let checks = 0;
    const fake = (name: string) =>
      ({
        raw: Buffer.from(name),
        ca: true,
        validFromDate: new Date(0),
        validToDate: new Date(1),
        checkIssued: () => true,
        verify: () => {
          if (++checks > 100) throw new Error('it tries an intermediate again and again');
          return true;
        },
      }) as unknown as X509Certificate;
    const intermediates = Array.from({ length: 8 }, (_, at) => fake(String(at)));
    expect(isAnchored({ leaf: fake('leaf'), intermediates, chained: true, sha256: '' }, [], 0)).to.equal(false);
    expect(checks).to.equal(8);
  });

  it('follows at most eight intermediates', () => {
    expect(judge(belowEight ?? [], [root])).to.deep.equal(yes);
    expect(judge(belowNine ?? [], [root])).to.deep.equal(no);
  });
});

describe('readClientCertificate', () => {
  interface FakeCertificate {
    readonly raw: Buffer;
    readonly fingerprint256: string;
    issuerCertificate: FakeCertificate | undefined;
  }
  const fake = (name: string, issuerCertificate?: FakeCertificate): FakeCertificate => ({
    raw: Buffer.from(name),
    fingerprint256: 'AB:CD:01',
    issuerCertificate,
  });
  const read = (leaf: FakeCertificate | undefined, authorized = false) =>
    readClientCertificate({ getPeerX509Certificate: () => leaf, authorized } as unknown as TLSSocket);
  const namesIn = (leaf: FakeCertificate) => read(leaf)?.intermediates.map(({ raw }) => raw.toString());

  it('is nothing for a client that has sent none', () => {
    expect(read(undefined)).to.equal(undefined);
  });

  it('has the digest in plain lower case, and the word of OpenSSL', () => {
    const leaf = fake('leaf');
    for (const authorized of [true, false])
      expect(read(leaf, authorized)).to.deep.equal({
        leaf,
        intermediates: [],
        chained: authorized,
        sha256: 'abcd01',
      });
  });

  it('has the certificates above it in order, each once, and at most eight', () => {
    const root = fake('root');
    root.issuerCertificate = fake('root', root);
    expect(namesIn(fake('leaf', fake('middle', root)))).to.deep.equal(['middle', 'root']);
    let chain = fake('0');
    for (let at = 1; at < 10; at++) chain = fake(String(at), chain);
    expect(namesIn(fake('leaf', chain))).to.deep.equal(['9', '8', '7', '6', '5', '4', '3', '2']);
  });
});
