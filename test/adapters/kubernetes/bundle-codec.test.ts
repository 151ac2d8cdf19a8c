import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import {
  decodeBundle,
  encodeBundle,
  formatHead,
  parseHead,
  unpackBundle,
  validateBundle,
} from '../../../src/adapters/kubernetes/bundle-codec.ts';
import { packBundle } from '../../../src/adapters/kubernetes/pack-bundle.ts';
import { readBundleFile } from '../../../src/adapters/kubernetes/read-bundle-file.ts';
import { RoutingBundleSchema } from '../../../src/api/routing-bundle-schema.ts';
import { sampleBundle } from '../../support/sample-bundle.ts';

const noise = (bytes: number) => randomBytes(bytes).toString('hex');

describe('bundle codec', () => {
  it('decodes what it encoded, over several shards in any order', async () => {
    const bundle = sampleBundle(7, noise(3000));
    const { head, shards } = await encodeBundle('table', bundle, 1000);
    expect(shards.length).to.be.greaterThan(2);
    expect(shards[1]?.name).to.equal(`table-${head.sha256.slice(0, 10)}-1`);
    const read = parseHead(formatHead(head));
    if (!read.ok) throw new Error(read.reason);
    expect(await decodeBundle(read.head, [...shards].reverse())).to.deep.equal({ ok: true, bundle });
  });

  it('decodes the writers, which a reader of an earlier version ignores', async () => {
    const bundle = sampleBundle(7, 'x');
    const [first, ...others] = bundle.table.groupVersions;
    const [row, ...rows] = first?.resources ?? [];
    if (first === undefined || row === undefined) throw new Error('the sample has no resources');
    const subresourceWriters = { token: { writers: [], standIns: row.peers } };
    const own = { writers: row.peers.slice(1), standIns: row.peers.slice(0, 1), subresourceWriters };
    const resources = [{ ...row, ...own }, ...rows];
    const groupVersions = [{ ...first, resources }, ...others];
    const table = { ...bundle.table, fieldSkew: 'Preserve' as const, groupVersions };
    const { head, shards } = await encodeBundle('table', { ...bundle, table });
    expect(head.format).to.equal('peerdiscovery.dev/routing-bundle.v1');
    expect(await decodeBundle(head, shards)).to.deep.equal({ ok: true, bundle: { ...bundle, table } });
    const broken = structuredClone(packBundle({ ...bundle, table }));
    for (const wrong of [{ writers: 99 }, { subresourceWriters: { token: { writers: 0, standIns: 99 } } }]) {
      const damaged = structuredClone(broken);
      Object.assign(damaged.table.groupVersions[0]?.resources[0] ?? {}, wrong);
      expect(validateBundle(damaged)).to.have.property('ok', false);
    }
  });

  it('gives equal bundles equal names', async () => {
    const one = await encodeBundle('table', sampleBundle(1, 'x'));
    const two = await encodeBundle('table', sampleBundle(1, 'x'));
    expect(two.head).to.deep.equal(one.head);
  });

  it('refuses missing, changed, swapped and foreign shards', async () => {
    const { head, shards } = await encodeBundle('table', sampleBundle(7, noise(3000)), 1000);
    const [first, second] = shards;
    if (!first || !second) throw new Error('too few shards');
    const missing = await decodeBundle(head, shards.slice(1));
    expect(missing).to.deep.equal({ ok: false, reason: `shard ${first.name} is missing` });
    const changed = [{ ...first, bytes: Buffer.from('x') }, ...shards.slice(1)];
    expect((await decodeBundle(head, changed)).ok).to.equal(false);
    const swapped = { ...head, shards: [head.shards[1], head.shards[0], ...head.shards.slice(2)] } as typeof head;
    expect(await decodeBundle(swapped, shards)).to.deep.include({
      reason: 'the shards together do not match their checksum',
    });
    expect(await decodeBundle({ ...head, revision: 8 }, shards)).to.deep.include({
      reason: 'the head has revision 8, the table has revision 7',
    });
  });

  it('does not decompress more than its limit', async () => {
    const bomb = gzipSync(Buffer.alloc(1_000_000));
    expect(await unpackBundle(bomb, 10_000)).to.deep.equal({ ok: false, reason: 'it is longer than 10000 bytes' });
    const broken = gzipSync('{}').subarray(0, 15);
    expect(await unpackBundle(broken)).to.deep.equal({ ok: false, reason: 'it cannot be decompressed' });
    expect(await unpackBundle(Buffer.from('{'))).to.deep.equal({ ok: false, reason: 'it is not JSON' });
  });

  const excessive: Readonly<Record<string, string>> = {
    'three million names': `{${Array.from({ length: 3_000_000 }, (_, at) => `"${at.toString(36)}":1`).join()}}`,
    'a million empty objects': `[${'{},'.repeat(1_000_000)}0]`,
    'millions of numbers': `[${'1,'.repeat(3_100_000)}0]`,
  };
  for (const [name, text] of Object.entries(excessive))
    it(`does not parse a text of ${name}`, async () => {
      for (const bytes of [Buffer.from(text), gzipSync(text)]) {
        const read = await unpackBundle(bytes);
        expect(read.ok || read.reason).to.match(/^it has more than \d+ /);
      }
    });

  it('does not parse documents with more names than any server has', async () => {
    const apis = `{${Array.from({ length: 30_000 }, (_, at) => `"${at}":1`).join()}}`;
    const text = JSON.stringify(packBundle({ ...sampleBundle(7), apis }));
    expect(await unpackBundle(Buffer.from(text))).to.deep.equal({
      ok: false,
      reason: 'apis: it has more than 20000 names',
    });
  });

  it('reads no more shards than a table has, however often a head names one of them', async () => {
    const { head, shards } = await encodeBundle('table', sampleBundle(7, noise(300_000)), 512 * 1024);
    const repeated = { ...head, shards: Array.from({ length: 10_000 }, () => head.shards).flat() };
    expect(await decodeBundle(repeated, shards)).to.deep.equal({
      ok: false,
      reason: 'its shards are longer than 16777216 bytes',
    });
  });

  it('publishes no table that it would not read', async () => {
    const bundle = sampleBundle(7);
    const doubts = Array.from({ length: 1_000_001 }, () => ({ peer: 'a', reason: 'b', message: 'c' }));
    const table = { ...bundle.table, complete: false, doubts };
    const failed = await encodeBundle('table', { ...bundle, table }).catch((error: unknown) => String(error));
    expect(failed).to.equal('Error: the routing table is too large: it has more than 1000000 objects and lists');
  });

  it('names the bad field', () => {
    const wrong: [change: (bundle: ReturnType<typeof mutable>) => void, reason: string][] = [
      [(b) => Object.assign(b.table.peers[1] ?? {}, { state: 'Fine' }), 'table.peers.1.state'],
      [(b) => Object.assign(b.table, { revision: -1 }), 'table.revision'],
      [(b) => Object.assign(b, { apiEtag: 'x' }), 'apiEtag'],
      [(b) => Object.assign(b.table, { kind: 'Other' }), 'table.kind'],
      [(b) => Object.assign(b.table, { complete: true }), 'table.complete'],
      [(b) => b.table.peerSets[0]?.push(2), 'table.peerSets.0'],
      [(b) => b.table.peerSets[0]?.push(0), 'table.peerSets.0'],
      [(b) => Object.assign(b.table.groupVersions[0]?.resources[0] ?? {}, { peers: 2 }), 'resources.0'],
      [
        (b) => Object.assign(b.table.groupVersions[0]?.resources[0]?.subresources ?? {}, { resize: 9 }),
        'table.groupVersions.0.resources.0',
      ],
    ];
    for (const [change, field] of wrong) {
      const bundle = mutable();
      change(bundle);
      const result = validateBundle(bundle);
      expect(result.ok, field).to.equal(false);
      if (!result.ok) expect(result.reason).to.contain(field);
    }
    for (const value of [null, 5, 'x', [], {}]) expect(validateBundle(value).ok).to.equal(false);
  });

  it('writes each set of peers once, so that size hardly grows with the number of peers', async () => {
    const everyone = Array.from({ length: 100 }, (_, index) => index);
    const resources = Array.from({ length: 10_000 }, (_, index) => ({
      resource: `r${index}`,
      // Equal sets are written once, whether or not they are the same object.
      peers: index % 2 === 0 ? everyone : [...everyone],
      subresources: { status: everyone.slice(1) },
    }));
    const { table, ...documents } = sampleBundle();
    const peers = everyone.map((index) => ({ id: `p${index}`, state: 'Ready' as const }));
    const groupVersions = [{ group: 'g', version: 'v1', origin: 'BuiltIn' as const, resources }];
    const bundle = { ...documents, table: { ...table, peers, groupVersions } };
    const packed = packBundle(bundle);
    expect(packed.table.peerSets).to.deep.equal([everyone, everyone.slice(1)]);
    const { head, shards } = await encodeBundle('table', bundle);
    expect(shards).to.have.length(1);
    const decoded = await decodeBundle(head, shards);
    expect(decoded).to.deep.equal({ ok: true, bundle });
    if (!decoded.ok) throw new Error(decoded.reason);
    const rows = decoded.bundle.table.groupVersions[0]?.resources ?? [];
    expect(new Set(rows.map((row) => row.peers)).size).to.equal(1);
  });

  it('accepts fields that it does not know, so that newer writers can be read', () => {
    expect(validateBundle({ ...packBundle(sampleBundle()), extra: true }).ok).to.equal(true);
  });

  it('refuses heads that are not what they should be', async () => {
    const { head } = await encodeBundle('table', sampleBundle());
    const data = formatHead(head);
    expect(parseHead(data).ok).to.equal(true);
    const bad = [
      { format: 'x' },
      { revision: '-1' },
      { revision: '' },
      { sha256: 'x' },
      { shards: '{}' },
      { shards: '[1]' },
    ];
    for (const change of bad) expect(parseHead({ ...data, ...change }).ok, JSON.stringify(change)).to.equal(false);
    expect(parseHead(undefined).ok).to.equal(false);
  });

  it('reads a file, plain or compressed, and gives a reason if it cannot read one', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'bundle-'));
    try {
      const bundle = sampleBundle(3);
      const file = join(directory, 'bundle');
      await writeFile(file, JSON.stringify(packBundle(bundle)));
      expect(await readBundleFile(file)).to.deep.equal({ ok: true, bundle });
      await writeFile(file, gzipSync(JSON.stringify(packBundle(bundle))));
      expect(await readBundleFile(file)).to.deep.equal({ ok: true, bundle });
      expect((await readBundleFile(join(directory, 'absent'))).ok).to.equal(false);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('matches the published schema file', async () => {
    const file = new URL('../../../docs/schemas/routing-bundle.schema.json', import.meta.url);
    expect(JSON.parse(await readFile(file, 'utf8'))).to.deep.equal(JSON.parse(JSON.stringify(RoutingBundleSchema)));
  });
});

/** A sample that a test may damage. */
function mutable() {
  return JSON.parse(JSON.stringify(packBundle(sampleBundle()))) as {
    apiEtag: string;
    table: {
      peers: object[];
      peerSets: number[][];
      groupVersions: { resources: { peers: number; subresources: Record<string, number> }[] }[];
    };
  };
}
