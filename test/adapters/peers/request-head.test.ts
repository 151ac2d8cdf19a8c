import { expect } from 'chai';
import { encodeRequestFields, writeRequestHead } from '../../../src/adapters/peers/request-head.ts';
import type { FieldsMemo, PeerRequest } from '../../../src/proxy/ports.ts';

const target = { id: 'a', address: '10.0.0.1:6443', serverName: 'kubernetes.default.svc', pinned: false };

function request(memo: FieldsMemo, changed: Partial<PeerRequest> = {}): PeerRequest {
  const rawHeaders = ['Authorization', 'Bearer a'];
  const plain = { method: 'GET', path: '/a', body: null, longRunning: false, upgrade: undefined } as const;
  return { ...plain, rawHeaders, memo, connectAs: 'anonymous', ...changed };
}

describe('writeRequestHead with a memo', () => {
  it('writes the same head as without, for another path too', () => {
    const memo: FieldsMemo = { written: undefined, encoded: undefined };
    writeRequestHead(target, request(memo));
    expect(memo.written).not.to.equal(undefined);
    const { memo: _, ...without } = request(memo, { path: '/b' });
    expect(writeRequestHead(target, request(memo, { path: '/b' }))).to.deep.equal(writeRequestHead(target, without));
  });

  it('does not let a token through to a front-proxy connection', () => {
    const memo: FieldsMemo = { written: undefined, encoded: undefined };
    writeRequestHead(target, request(memo));
    expect(writeRequestHead(target, request(memo, { connectAs: 'frontProxy' })).kind).to.equal('bad');
  });

  it('names the server that is asked', () => {
    const memo: FieldsMemo = { written: undefined, encoded: undefined };
    writeRequestHead(target, request(memo));
    const head = writeRequestHead({ ...target, address: '10.0.0.2:6443' }, request(memo));
    expect(head).to.have.property('text').that.includes('Host: 10.0.0.2:6443');
  });

  it('still refuses a path that is none, and remembers nothing that is not fit', () => {
    const memo: FieldsMemo = { written: undefined, encoded: undefined };
    writeRequestHead(target, request(memo));
    expect(writeRequestHead(target, request(memo, { path: '/a b' })).kind).to.equal('bad');
    const bad: FieldsMemo = { written: undefined, encoded: undefined };
    expect(writeRequestHead(target, request(bad, { rawHeaders: ['A', 'b\r\nC: d'] })).kind).to.equal('bad');
    expect(bad.written).to.equal(undefined);
  });
});

describe('encodeRequestFields with a memo', () => {
  const memoOf = (): FieldsMemo => ({ written: undefined, encoded: undefined });

  it('makes the same fields as without, for another path too', () => {
    const memo = memoOf();
    encodeRequestFields(target, request(memo));
    expect(memo.encoded).not.to.equal(undefined);
    const { memo: _, ...without } = request(memo, { path: '/b' });
    expect(encodeRequestFields(target, request(memo, { path: '/b' }))).to.deep.equal(
      encodeRequestFields(target, without),
    );
  });

  it('names the server that is asked, and lets no token through to a front-proxy connection', () => {
    const memo = memoOf();
    encodeRequestFields(target, request(memo));
    const headers = encodeRequestFields({ ...target, address: '10.0.0.2:6443' }, request(memo));
    expect(headers).to.have.property('text').that.includes('10.0.0.2:6443');
    expect(encodeRequestFields(target, request(memo, { connectAs: 'frontProxy' })).kind).to.equal('bad');
  });

  it('still refuses a path that is none, and remembers nothing that is not fit', () => {
    const memo = memoOf();
    encodeRequestFields(target, request(memo));
    expect(encodeRequestFields(target, request(memo, { path: '/a b' })).kind).to.equal('bad');
    const bad = memoOf();
    expect(encodeRequestFields(target, request(bad, { rawHeaders: ['A', 'b\r\nC: d'] })).kind).to.equal('bad');
    expect(bad.encoded).to.equal(undefined);
  });
});
