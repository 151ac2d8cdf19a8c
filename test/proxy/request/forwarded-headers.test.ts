import { expect } from 'chai';
import { passThrough } from '../../../src/proxy/identity/request-identity.ts';
import {
  type PreparedFields,
  prepareAgain,
  prepareRequestHeaders,
  prepareResponseHeaders,
} from '../../../src/proxy/request/forwarded-headers.ts';

function prepare(rawHeaders: readonly string[], peerProxied = false): string[] {
  return prepareRequestHeaders(rawHeaders, { remoteAddress: '192.0.2.7', peerProxied, identity: passThrough });
}
const forwardedFor = ['X-Forwarded-For', '192.0.2.7'];

describe('prepareRequestHeaders', () => {
  const forged = [
    'X-Remote-User',
    'x-remote-group',
    'X-REMOTE-EXTRA-Scopes',
    'X-Remote-Uid',
    'X_Remote_User',
    'x-remote_group',
    'X-Kubernetes-Peer-Proxied',
    'x_kubernetes_peer_proxied',
  ];
  for (const name of forged)
    it(`removes ${name} from a client`, () => {
      expect(prepare([name, 'system:masters', 'Host', 'h'])).to.deep.equal(['Host', 'h', ...forwardedFor]);
    });

  it('removes connection-specific fields, and those that Connection names', () => {
    const headers = [
      'Host',
      'h',
      'Connection',
      'close, X-Secret',
      'Connection',
      'X-Other',
      'Keep-Alive',
      '1',
      'TE',
      'trailers',
      'Transfer-Encoding',
      'chunked',
      'Upgrade',
      'h2c',
      'Proxy-Authorization',
      'x',
      'x-secret',
      '1',
      'X-Other',
      '2',
      'A',
      'b',
    ];
    expect(prepare(headers)).to.deep.equal(['Host', 'h', 'A', 'b', ...forwardedFor]);
  });

  it('does not let Connection remove the framing or the host', () => {
    const headers = ['Host', 'h', 'Content-Length', '3', 'Connection', 'content-length, host'];
    expect(prepare(headers)).to.deep.equal(['Host', 'h', 'Content-Length', '3', ...forwardedFor]);
  });

  const identities = [
    'Authorization',
    'Impersonate-User',
    'Impersonate-Group',
    'Impersonate-Uid',
    'Impersonate-Extra-Scopes',
    'Sec-WebSocket-Protocol',
    'X-Forwarded-Host',
    'X-Real-Ip',
    'Forwarded',
    'Audit-ID',
  ];
  for (const name of identities)
    it(`does not let Connection remove ${name}`, () => {
      const headers = ['Host', 'h', name, 'alice', 'Connection', `close, ${name.toUpperCase()}`];
      expect(prepare(headers)).to.deep.equal(['Host', 'h', name, 'alice', ...forwardedFor]);
    });

  it('does not let Connection remove cookies or the origin of a request', () => {
    const headers = [
      'Host',
      'h',
      'Cookie',
      'a=b',
      'X-Forwarded-For',
      '198.51.100.1',
      'Connection',
      'cookie,x-forwarded-for',
    ];
    expect(prepare(headers)).to.deep.equal([
      'Host',
      'h',
      'Cookie',
      'a=b',
      'X-Forwarded-For',
      '198.51.100.1, 192.0.2.7',
    ]);
  });

  it('keeps repeated headers repeated, and impersonation', () => {
    const headers = ['Host', 'h', 'Impersonate-Group', 'a', 'Impersonate-Group', 'b'];
    expect(prepare(headers)).to.deep.equal([...headers, ...forwardedFor]);
  });

  it('appends to X-Forwarded-For', () => {
    expect(prepare(['Host', 'h', 'x-forwarded-for', '198.51.100.1'])).to.deep.equal([
      'Host',
      'h',
      'X-Forwarded-For',
      '198.51.100.1, 192.0.2.7',
    ]);
  });

  it('marks only requests that go to another server than home', () => {
    expect(prepare(['Host', 'h'], true)).to.deep.equal([
      'Host',
      'h',
      ...forwardedFor,
      'x-kubernetes-peer-proxied',
      'true',
    ]);
    expect(prepare(['Host', 'h'])).not.to.include('x-kubernetes-peer-proxied');
  });
});

describe('prepareAgain', () => {
  const connection = (): { remoteAddress: string; prepared?: PreparedFields } => ({ remoteAddress: '192.0.2.7' });
  const fields = ['Host', 'h', 'Authorization', 'Bearer a'];

  it('returns the same headers while fields, identity and destination are the same', () => {
    const exchange = { rawHeaders: fields, identity: passThrough, connection: connection() };
    const first = prepareAgain(exchange, { peerProxied: false });
    expect(first.rawHeaders).to.deep.equal(prepare(fields));
    expect(prepareAgain({ ...exchange, rawHeaders: [...fields] }, { peerProxied: false })).to.equal(first);
  });

  const others = {
    'another token': { rawHeaders: ['Host', 'h', 'Authorization', 'Bearer b'] },
    'one field more': { rawHeaders: [...fields, 'A', 'b'] },
    'another identity': { identity: { ...passThrough, stamp: ['X-Remote-User', 'u'] } },
  };
  for (const [what, other] of Object.entries(others))
    it(`makes new headers for ${what}`, () => {
      const exchange = { rawHeaders: fields, identity: passThrough, connection: connection() };
      prepareAgain(exchange, { peerProxied: false });
      const next = { ...exchange, ...other };
      const { remoteAddress } = exchange.connection;
      expect(prepareAgain(next, { peerProxied: false }).rawHeaders).to.deep.equal(
        prepareRequestHeaders(next.rawHeaders, { remoteAddress, peerProxied: false, identity: next.identity }),
      );
    });

  it('makes new headers for a server that is not home', () => {
    const exchange = { rawHeaders: fields, identity: passThrough, connection: connection() };
    prepareAgain(exchange, { peerProxied: false });
    expect(prepareAgain(exchange, { peerProxied: true }).rawHeaders).to.deep.equal(prepare(fields, true));
  });
});

describe('prepareResponseHeaders', () => {
  it('passes every field on as often as it came, except connection-specific ones', () => {
    const headers = [
      'Audit-Id',
      '1',
      'Warning',
      'a',
      'Warning',
      'b',
      'Connection',
      'close',
      'Transfer-Encoding',
      'chunked',
    ];
    expect(prepareResponseHeaders(headers)).to.deep.equal(['Audit-Id', '1', 'Warning', 'a', 'Warning', 'b']);
  });
});
