import { expect } from 'chai';
import {
  contentTypeOf,
  encodingOf,
  mediaTypeOf,
  mediaTypes,
  negotiateAggregated,
  negotiateDiscovery,
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
    ['needs the group of discovery', `application/json;${v2.replace('k8s.io', 'k8s.io.x')}`, undefined],
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

describe('the order of clauses', () => {
  // Each verdict follows `ParseAccept` of goautoneg, whose comparison depends on the order of the clauses.
  for (const [accept, encoding] of [
    ['application/yaml, application/json', 'yaml'],
    ['application/json;q=0.1, application/yaml;q=0.2, application/vnd.kubernetes.protobuf;q=0.3', 'protobuf'],
    ['application/json;q=0.2, application/yaml;q=0.3, application/vnd.kubernetes.protobuf;q=0.1', 'yaml'],
    ['*/*, application/yaml;q=0.1', 'yaml'],
    ['application/yaml;q=0.1, */*', 'json'],
    ['*/*, */*, application/yaml;q=0.1', 'yaml'],
    ['application/*, application/yaml;q=0.1', 'yaml'],
    ['application/yaml;q=0.1, application/*', 'json'],
    ['application/*;q=0.1, application/yaml;q=0.1', 'yaml'],
    ['application/yaml;q=0.1, application/*;q=0.1', 'yaml'],
    ['*/*;q=0.1, application/*;q=0.1', 'json'],
    ['application/yaml, application/*;q=0.9, */*;q=0.8', 'yaml'],
    ['application/json;q=0, application/yaml;q=x', 'json'],
    ['application/json;q=0.9, application/yaml;q=0.1=x', 'yaml'],
    ['application/json;q=0.9, application/yaml; q =0.1', 'json'],
    ['application/json;q=0.9, application/yaml;q=', 'yaml'],
  ] as const)
    it(`chooses ${encoding} for ${accept}`, () => {
      expect(negotiateLegacy(accept)?.encoding).to.equal(encoding);
    });
});

describe('a clause', () => {
  for (const [accept, encoding] of [
    ['  application/yaml  ', 'yaml'],
    [' application / yaml ;a=b', 'yaml'],
    ['\tapplication/yaml', undefined],
    ['application/yaml\t', undefined],
    ['application/yaml/', 'yaml'],
    ['application/yaml/x', undefined],
    ['application/', undefined],
    ['application', undefined],
    ['*', 'json'],
    ['*/', 'json'],
    [' * ', 'json'],
    ['*/*', 'json'],
    ['application/*', 'json'],
    ['*/yaml', undefined],
    ['text/yaml', undefined],
    ['text/*', undefined],
    ['application/yaml;stream=watch', 'yaml'],
    ['application/yaml;stream=x', undefined],
    ['application/yaml;stream=', 'yaml'],
    ['application/yaml;sv=1', undefined],
    ['application/yaml;sv=', 'yaml'],
    ['application/yaml;as', 'yaml'],
    ['application/yaml;as=Table', undefined],
    ['application/yaml;g=meta.k8s.io', undefined],
    ['application/yaml;v=v1', undefined],
    ['application/yaml;as=Table=x', 'yaml'],
    ['application/yaml;__proto__=x', 'yaml'],
    [' ', undefined],
  ] as const)
    it(`${JSON.stringify(accept)} asks for ${encoding ?? 'nothing that is known'}`, () => {
      expect(negotiateLegacy(accept)?.encoding).to.equal(encoding);
    });

  it('has the parameters pretty and profile', () => {
    const legacy = { encoding: 'json', aggregated: undefined };
    expect(negotiateLegacy('')).to.deep.equal({ ...legacy, pretty: false, profile: '' });
    expect(negotiateLegacy('*/*')).to.deep.equal({ ...legacy, pretty: false, profile: '' });
    expect(negotiateLegacy('*/*; pretty = 1 ;profile= x ')).to.deep.equal({ ...legacy, pretty: true, profile: 'x' });
    expect(negotiateLegacy('*/*;pretty=true')?.pretty).to.equal(false);
  });
});

describe('negotiateDiscovery', () => {
  const at = (accept: string, routed: boolean) => negotiateDiscovery(accept, { routed, versions: ['v2'] });

  it('prefers the aggregated form, and gives the legacy one otherwise', () => {
    expect(at(`application/json,application/json;q=0.1;${v2}`, true)).to.include({ aggregated: 'v2' });
    expect(at('application/yaml', true)).to.include({ encoding: 'yaml', aggregated: undefined });
    expect(at('text/html', false)).to.equal(undefined);
    const none = negotiateDiscovery(`application/json;${v2},application/yaml`, { routed: false, versions: [] });
    expect(none).to.include({ encoding: 'yaml', aggregated: undefined });
  });

  it('leaves what the router refuses to the server, on the paths behind it', () => {
    expect(at('application/*', true)).to.equal(undefined);
    expect(at('application/*', false)).to.include({ encoding: 'json' });
    expect(at(`application/*;${v2}`, true)).to.equal(undefined);
  });
});

describe('contentTypeOf', () => {
  it('names the encoding, and the version of the aggregated form', () => {
    const choice = { encoding: 'yaml', aggregated: undefined, pretty: false, profile: '' } as const;
    expect(contentTypeOf(choice)).to.equal('application/yaml');
    expect(contentTypeOf({ ...choice, encoding: 'protobuf', aggregated: 'v2beta1' })).to.equal(
      'application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
    );
  });
});

describe('passesRouter', () => {
  it('knows exact types and any type, whatever their parameters', () => {
    for (const accept of ['', '*/*', 'text/html, */*;q=0.1', 'application/yaml;as=x'])
      expect(passesRouter(accept), accept).to.equal(true);
    for (const accept of ['  application/json  ;x', ' */* ', 'text/html,application/yaml'])
      expect(passesRouter(accept), accept).to.equal(true);
    for (const accept of ['\tapplication/json', 'application/json\t', ' ', 'application / json'])
      expect(passesRouter(accept), accept).to.equal(false);
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
