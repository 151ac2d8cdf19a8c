import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { expect } from 'chai';
import { seededRandom } from '../../lab/seeded-random.ts';
import { crdFile, crdText } from '../../scripts/generate-crd.ts';
import { customResourceDefinition } from '../../src/api/custom-resource-definition.ts';
import { parseDuration } from '../../src/api/duration.ts';
import { withDefaults } from '../../src/api/peer-discovery.ts';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

/** Every node of a schema by its path; the items of a list are `[]`. */
function* walk(schema: Schema, path = ''): Generator<readonly [string, Schema]> {
  yield [path, schema];
  if (schema.items !== undefined) yield* walk(schema.items, `${path}[]`);
  for (const [name, property] of Object.entries(schema.properties ?? {})) yield* walk(property, `${path}.${name}`);
}

const schemaOfCrd = (): Schema => {
  const [version] = customResourceDefinition().spec.versions;
  if (version === undefined) throw new Error('the CustomResourceDefinition has no version');
  return version.schema.openAPIV3Schema;
};

const valueAt = (value: unknown, path: string): unknown =>
  path
    .split('.')
    .slice(1)
    .reduce<unknown>((found, name) => (found as Readonly<Record<string, unknown>>)[name], value);

describe('the CustomResourceDefinition of PeerDiscovery', () => {
  it('is generated into crds/ exactly from the TypeScript types', async () => {
    expect(await readFile(crdFile, 'utf8')).to.equal(crdText());
  });

  it('describes every field', () => {
    const silent = [...walk(schemaOfCrd())].filter(([path, { description }]) => !description && path !== '.metadata');
    expect(silent.map(([path]) => path)).to.deep.equal([]);
  });

  it('gives every field a type, as a structural schema must', () => {
    const untyped = [...walk(schemaOfCrd())].filter(([, { type }]) => type === undefined);
    expect(untyped.map(([path]) => path)).to.deep.equal([]);
  });

  it('contains nothing that a structural schema forbids', () => {
    expect(crdText()).not.to.match(/\$ref|\$id|"?const"?:|~kind|patternProperties/);
  });

  it('is described in the reference, field by field, with the same defaults', async () => {
    const page = await readFile(new URL('../../docs/reference/peer-discovery.md', import.meta.url), 'utf8');
    const rows = new Map(
      [...page.matchAll(/^[|] `([\w.]+)` +[|] (.*?) +[|]/gm)].map(([, field = '', cell = '']) => [field, cell]),
    );
    const spec = schemaOfCrd().properties?.spec;
    if (spec === undefined) throw new Error('the CustomResourceDefinition has no spec');
    for (const [path, { properties, default: byDefault }] of walk(spec)) {
      if (properties !== undefined || path.includes('[]')) continue;
      const cell = rows.get(path.slice(1));
      expect(cell, `the row of ${path}`).not.to.equal(undefined);
      if (byDefault === undefined) continue;
      const text = Array.isArray(byDefault) ? `[${byDefault.join(', ')}]` : String(byDefault);
      expect(cell, `the default of ${path}`).to.equal(`\`${text}\``);
    }
  });

  it('has few enough columns for a terminal of 80, and more with -o wide', () => {
    const columns = customResourceDefinition().spec.versions[0]?.additionalPrinterColumns ?? [];
    const shown = columns.filter(({ priority = 0 }) => priority === 0).map(({ name }) => Math.max(name.length, 5) + 3);
    expect(shown.reduce((sum, width) => sum + width, 'a-longer-name'.length + 3)).to.be.at.most(80);
  });

  it('has no escape in its rules that CEL does not know', () => {
    const rules = JSON.stringify(customResourceDefinition()).match(/"rule":"(?:[^"\\]|\\.)*"/g) ?? [];
    expect(rules).not.to.deep.equal([]);
    expect(rules.filter((rule) => rule.includes('\\\\'))).to.deep.equal([]);
  });

  it('accepts exactly the valid static addresses, as far as IPv6 goes', () => {
    const rule = /self\.matches\('(\^\(\[\[\].*?)'\)/.exec(JSON.stringify(schemaOfCrd()));
    // RE2 reads this as a bracket; in JavaScript it is an empty class.
    const address = new RegExp(rule?.[1]?.replace('[]]', '\\]') ?? 'no rule');
    const words = ['1', 'fd00', '', '', 'abcde', 'g', '10.0.0.1', '10.0.0.300', '0'];
    const random = seededRandom(1);
    const below = (limit: number) => Math.floor(random() * limit);
    const candidates = Array.from({ length: 20_000 }, () =>
      Array.from({ length: 1 + below(9) }, () => words[below(words.length)]).join(':'),
    );
    const wrong = candidates.filter((host) => address.test(`[${host}]:6443`) !== isIPv6(host));
    expect(wrong).to.deep.equal([]);
    expect(candidates.filter((host) => isIPv6(host))).to.have.length.greaterThan(200);
  });

  it('has a default for every field of the spec that can have one', () => {
    const fields = [...walk(schemaOfCrd())].filter(([path]) => path.startsWith('.spec') && !path.includes('[]'));
    const without = fields.filter(([, schema]) => schema.default === undefined).map(([path]) => path);
    expect(without).to.deep.equal(['.spec.tls.caBundle', '.spec.routingTable.namespace', '.spec.routingTable.name']);
  });
});

describe('withDefaults', () => {
  it('gives an absent spec exactly the defaults of the CustomResourceDefinition', () => {
    const defaults = [...walk(schemaOfCrd())].filter(
      ([path, schema]) => path.startsWith('.spec') && 'default' in schema,
    );
    expect(defaults.length).to.be.greaterThan(15);
    for (const [path, schema] of defaults)
      expect(valueAt({ spec: withDefaults(undefined) }, path), path).to.deep.equal(schema.default);
  });

  it('adds missing fields to a section that exists', () => {
    expect(withDefaults({ polling: { interval: '3s' } }).polling).to.deep.equal({
      interval: '3s',
      timeout: '5s',
      concurrency: 8,
    });
  });

  it('treats null as absent, as the API server does', () => {
    const spec = { polling: null, tls: { caBundle: 'AA==' } } as unknown as Parameters<typeof withDefaults>[0];
    expect(withDefaults(spec).polling.interval).to.equal('10s');
    expect(withDefaults(spec).tls).to.deep.equal({ caBundle: 'AA==', serverName: 'kubernetes.default.svc' });
  });

  it('changes neither its argument nor the defaults of the next call', () => {
    const spec = { polling: {} };
    const first = withDefaults(spec);
    (first.addresses.sources as string[]).pop();
    expect(spec).to.deep.equal({ polling: {} });
    expect(withDefaults(spec).addresses.sources).to.have.length(5);
  });

  it('returns durations in the order that the rules demand', () => {
    const { polling, staleAfter, goneAfter } = withDefaults({});
    expect(parseDuration(polling.interval)).to.be.lessThan(parseDuration(staleAfter));
    expect(parseDuration(staleAfter)).to.be.at.most(parseDuration(goneAfter));
  });
});
