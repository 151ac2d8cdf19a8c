import { expect } from 'chai';
import {
  encodingOf,
  mediaTypeOf,
  mediaTypes,
  negotiateAggregated,
  negotiateLegacy,
  passesRouter,
} from '../../src/domain/negotiate-media-type.ts';

const v2 = 'g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

describe('negotiateAggregated', () => {
  const cases: readonly (readonly [title: string, accept: string, expected: object | undefined])[] = [
    ['takes JSON', `application/json;${v2}`, { encoding: 'json', aggregated: 'v2' }],
    ['takes protobuf', `application/vnd.kubernetes.protobuf;${v2}`, { encoding: 'protobuf' }],
    ['takes the first of the supported for a wildcard', `*/*;${v2}`, { encoding: 'json' }],
    ['weighs no other form against it', `application/json;q=1,application/yaml;q=0.1;${v2}`, { encoding: 'yaml' }],
    [
      'weighs aggregated forms against each other',
      `application/json;q=0.2;${v2},application/yaml;q=0.3;${v2}`,
      { encoding: 'yaml' },
    ],
    [
      'sees spaces around parameters',
      'application/json; g=apidiscovery.k8s.io ; v=v2; as=APIGroupDiscoveryList',
      { encoding: 'json' },
    ],
    ['sees the profile', `application/json;${v2};profile=nopeer`, { profile: 'nopeer' }],
    ['sees pretty', `application/json;${v2};pretty=1`, { pretty: true }],
    ['knows no other version', `application/json;${v2.replace('v2', 'v9')}`, undefined],
    ['knows v2beta1 only where it is offered', `application/json;${v2.replace('v2', 'v2beta1')}`, undefined],
    ['passes a server version over', `application/json;${v2};sv=v1`, undefined],
    ['needs all three parameters', 'application/json;g=apidiscovery.k8s.io;v=v2', undefined],
    ['is case-sensitive', `Application/JSON;${v2}`, undefined],
  ];
  for (const [title, accept, expected] of cases)
    it(title, () => {
      const choice = negotiateAggregated(accept, ['v2']);
      if (expected === undefined) expect(choice).to.equal(undefined);
      else expect(choice).to.include(expected);
    });

  it('accepts v2beta1 if it is offered', () => {
    const accept = `application/json;${v2.replace('v2', 'v2beta1')},application/json`;
    expect(negotiateAggregated(accept, ['v2', 'v2beta1'])).to.include({ aggregated: 'v2beta1' });
  });
});

describe('negotiateLegacy', () => {
  it('gives JSON without a header, and the best by quality with one', () => {
    expect(negotiateLegacy('')?.encoding).to.equal('json');
    expect(negotiateLegacy('application/json;q=0.5, application/yaml')?.encoding).to.equal('yaml');
    expect(negotiateLegacy('*/*, application/yaml')?.encoding).to.equal('yaml');
  });

  it('refuses transformations and unknown types', () => {
    for (const accept of [
      `application/json;${v2}`,
      'application/json;as=Table;g=meta.k8s.io;v=v1',
      'text/html',
      'application/cbor',
    ])
      expect(negotiateLegacy(accept), accept).to.equal(undefined);
  });

  it('skips invalid media ranges', () => {
    expect(negotiateLegacy('json, application/json/x, , application/yaml')?.encoding).to.equal('yaml');
    expect(negotiateLegacy('*')?.encoding).to.equal('json');
  });
});

describe('passesRouter', () => {
  it('knows exact types and any type, whatever their parameters', () => {
    for (const accept of ['', '*/*', 'text/html, */*;q=0.1', 'application/yaml;as=x'])
      expect(passesRouter(accept), accept).to.equal(true);
    for (const accept of ['*', 'application/*', 'text/html', 'Application/JSON'])
      expect(passesRouter(accept), accept).to.equal(false);
  });
});

describe('encodingOf', () => {
  it('knows exactly the types in which documents are written, whatever their parameters and capitals', () => {
    for (const [encoding, type] of Object.entries(mediaTypes)) {
      expect(encodingOf(type)).to.equal(encoding);
      expect(encodingOf(mediaTypeOf(` ${type.toUpperCase()} ;charset=utf-8`))).to.equal(encoding);
    }
    for (const type of ['', '*/*', 'application/*', 'application/cbor', 'text/plain'])
      expect(encodingOf(type), type).to.equal(undefined);
  });
});
