import { expect } from 'chai';
import { buildStatus } from '../../src/domain/status-error.ts';
import { classifyNotFound } from '../../src/proxy/classify-not-found.ts';
import { encodeStatus } from '../../src/proxy/write-status.ts';

const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 };

describe('classifyNotFound', () => {
  it('tells a missing object by the name in details', () => {
    const body = Buffer.from(JSON.stringify({ ...status, details: { name: 'x', kind: 'pods' } }));
    expect(classifyNotFound('application/json', undefined, body)).to.equal('object');
    const yaml = Buffer.from('kind: Status\ndetails:\n  name: x\n');
    expect(classifyNotFound('application/yaml', undefined, yaml)).to.equal('object');
  });

  it('takes a Status without that name, and the plain text of the mux, for an unknown resource', () => {
    expect(
      classifyNotFound('application/json', undefined, Buffer.from(JSON.stringify({ ...status, details: {} }))),
    ).to.equal('resource');
    expect(classifyNotFound('text/plain; charset=utf-8', undefined, Buffer.from('404 page not found\n'))).to.equal(
      'resource',
    );
  });

  it('reads protobuf', () => {
    const accept = 'application/vnd.kubernetes.protobuf';
    const { body, contentType } = encodeStatus(
      buildStatus(404, 'the server could not find the requested resource'),
      accept,
    );
    expect(classifyNotFound(contentType, undefined, body)).to.equal('resource');
    // details (5) { name (1): "x" } inside Status, inside Unknown.raw (2).
    const named = Buffer.from([
      0x6b,
      0x38,
      0x73,
      0,
      0x0a,
      8,
      0x12,
      6,
      ...Buffer.from('Status'),
      0x12,
      5,
      0x2a,
      3,
      0x0a,
      1,
      0x78,
    ]);
    expect(classifyNotFound(accept, undefined, named)).to.equal('object');
  });

  it('does not guess', () => {
    expect(classifyNotFound('text/html', undefined, Buffer.from('<p>'))).to.equal('unknown');
    expect(classifyNotFound('application/json', 'gzip', Buffer.from('{}'))).to.equal('unknown');
    expect(classifyNotFound('application/json', undefined, Buffer.from('{'))).to.equal('unknown');
    expect(
      classifyNotFound('application/vnd.kubernetes.protobuf', undefined, Buffer.from('k8s\0\x0a\xff', 'latin1')),
    ).to.equal('unknown');
  });
});

describe('encodeStatus', () => {
  it('writes what the client accepts first, and JSON else', () => {
    const failure = buildStatus(503, 'why', 1);
    expect(JSON.parse(encodeStatus(failure, '').body.toString())).to.deep.equal(failure);
    expect(encodeStatus(failure, 'application/yaml').body.toString()).to.include('reason: ServiceUnavailable');
    expect(
      encodeStatus(failure, 'application/vnd.kubernetes.protobuf, application/json').body.toString('latin1'),
    ).to.match(/^k8s\0/);
    expect(encodeStatus(failure, 'application/json, application/yaml').contentType).to.equal('application/json');
  });
});
