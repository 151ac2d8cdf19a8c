import { expect } from 'chai';
import { parse } from 'yaml';
import { unwrapUnknown } from '../../../src/domain/protobuf-unknown.ts';
import { buildStatus } from '../../../src/domain/status-error.ts';
import { encodeStatus } from '../../../src/proxy/request/write-status.ts';

const status = buildStatus(503, 'wait');
const [json, yaml, protobuf] = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'];

describe('encodeStatus', () => {
  it('writes the first encoding that the client accepts, or else JSON', () => {
    const failure = buildStatus(503, 'why', 1);
    expect(JSON.parse(encodeStatus(failure, '').body.toString())).to.deep.equal(failure);
    expect(encodeStatus(failure, 'application/yaml').body.toString()).to.include('reason: ServiceUnavailable');
    expect(
      encodeStatus(failure, 'application/vnd.kubernetes.protobuf, application/json').body.toString('latin1'),
    ).to.match(/^k8s\0/);
    expect(encodeStatus(failure, 'application/json, application/yaml').contentType).to.equal('application/json');
  });

  it('writes each encoding', () => {
    expect(JSON.parse(encodeStatus(status, json).body.toString())).to.deep.include({ kind: 'Status', code: 503 });
    expect(parse(encodeStatus(status, yaml).body.toString())).to.deep.include({ kind: 'Status', code: 503 });
    expect(unwrapUnknown(encodeStatus(status, protobuf).body)).to.include({ kind: 'Status' });
  });

  for (const [accept, type] of [
    ['', json],
    ['*/*', json],
    [`*/*, ${yaml}`, json],
    [`${protobuf};q=0.1, ${json}`, protobuf],
    [`Application/YAML ; charset=utf-8, ${json}`, yaml],
    [`application/cbor, ${yaml}`, yaml],
    ['text/html, application/*', json],
  ] as const)
    it(`chooses ${type} for ${accept || 'no Accept'}`, () => {
      expect(encodeStatus(status, accept).contentType).to.equal(type);
    });
});
