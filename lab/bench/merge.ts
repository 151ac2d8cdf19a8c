import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { encodeBundle } from '../../src/adapters/kubernetes/bundle-codec.ts';
import { createDocumentPool, type DocumentPool } from '../../src/adapters/peers/document-pool.ts';
import { createDeriveMemo, deriveUnifiedView, type PeerView } from '../../src/domain/derive-bundle.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { createMergeMemo, mergeDiscovery } from '../../src/domain/merge-discovery.ts';
import { parseDiscoveryList } from '../../src/domain/parse-discovery.ts';
import type { RoutingTable } from '../../src/domain/routing-table.ts';
import { deriveStatus } from '../../src/operator/derive-status.ts';
import { createDocumentEncoder } from '../../src/operator/encode-documents.ts';
import { buildMergeOracle } from '../build/build-merge-oracle.ts';
import { generateGroups, laggingServer, olderRelease, rawList, withNewResource } from '../generated-discovery.ts';
import { runOracle } from '../run-oracle.ts';
import { seededRandom } from '../seeded-random.ts';
import { median } from './median.ts';
import { type MergeMeasurement, type Ours, type Theirs, writeChart, writeMergeReport } from './merge-report.ts';
import { inFolder, progress, publishReport, writePage } from './run-bench.ts';

const peerCounts = [3, 10, 100];
const resourceCounts = [500, 5_000, 20_000];

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapMiB(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

function timed<Result>(run: () => Result): readonly [result: Result, ms: number] {
  const startedAt = performance.now();
  const result = run();
  return [result, performance.now() - startedAt];
}

interface Fleet {
  readonly local: string;
  readonly files: ReadonlyMap<string, string>;
  readonly changed: { readonly id: string; readonly file: string };
}

/** A fleet in the middle of an upgrade: half of it new, two fifths old, and every tenth server slightly behind. */
function writeFleet(at: string, peers: number, resources: number): Fleet {
  const random = seededRandom(peers * resources);
  const newest = generateGroups(resources, random);
  const older = olderRelease(newest, random);
  const write = (name: string, groups: readonly GroupDiscovery[]) => {
    const file = join(at, name);
    writeFileSync(file, JSON.stringify(rawList(groups)));
    return file;
  };
  const [newFile, oldFile] = [write('newest', newest), write('older', older)];
  const files = new Map<string, string>();
  for (let index = 0; index < peers; index++) {
    const id = `apiserver-${createHash('sha256').update(`${index}`).digest('hex').slice(0, 26)}`;
    const lags = index % 10 === 9;
    files.set(
      id,
      lags ? write(`lagging-${index}`, laggingServer(newest, random)) : index % 2 === 0 ? newFile : oldFile,
    );
  }
  const ids = [...files.keys()].sort();
  const id = ids[Math.floor(ids.length / 2)] ?? '';
  const before = JSON.parse(readFileSync(files.get(id) ?? '', 'utf8')) as { items: object[] };
  const changed = write('changed', withNewResource(parseDiscoveryList(before), 'widgets'));
  return { local: ids[0] ?? '', files, changed: { id, file: changed } };
}

/** Reads a document as the operator does. */
function readDocument(file: string, pool: DocumentPool): readonly GroupDiscovery[] {
  const body = readFileSync(file);
  const hash = createHash('sha256').update(body).digest('base64');
  const known = pool.recall(hash);
  if (known !== undefined) return known.groups;
  const groups = pool.share(parseDiscoveryList(JSON.parse(body.toString('utf8'))));
  pool.remember(hash, 'v2', groups);
  return groups;
}

const defined = { custom: new Set<string>(), aggregated: new Set<string>(), deletedAt: new Map<string, number>() };
const settings = { mode: 'Route', fieldSkew: 'Preserve', serverName: 'kubernetes.default.svc' } as const;
const noCore: readonly GroupDiscovery[] = [];

function viewsOf(documents: ReadonlyMap<string, readonly GroupDiscovery[]>): readonly PeerView[] {
  return [...documents].map(([id, apis], index) => ({
    seen: {
      peer: { id, hostname: `host-${index}`, address: `192.0.2.${index}:6443` },
      documents: { form: 'v2', api: noCore, apis, etags: {}, hash: '' },
      documentsAt: 0,
    },
    assessment: { state: 'Ready', reason: 'Ready', message: '', live: true, fresh: true, retained: true },
  }));
}

async function measureOurs(fleet: Fleet, repeat: number): Promise<Ours> {
  const before = heapMiB();
  const pool = createDocumentPool();
  const documents = new Map<string, readonly GroupDiscovery[]>();
  const readsMs: number[] = [];
  for (const [id, file] of fleet.files) {
    const [groups, ms] = timed(() => readDocument(file, pool));
    documents.set(id, groups);
    readsMs.push(ms);
  }
  const merges: number[] = [];
  const encodes: number[] = [];
  const passes: number[] = [];
  let etag = '';
  for (let turn = 0; turn < repeat; turn++) {
    const [merged, mergeMs] = timed(() => mergeDiscovery(fleet.local, documents, createMergeMemo()));
    const [encoded, encodeMs] = timed(() => createDocumentEncoder()(merged));
    etag = encoded.etag;
    merges.push(mergeMs);
    encodes.push(encodeMs);
    passes.push(timed(() => deriveUnifiedView(viewsOf(documents), defined, settings, createDeriveMemo()))[1]);
  }

  const [memo, encode, deriveMemo] = [createMergeMemo(), createDocumentEncoder(), createDeriveMemo()];
  encode(mergeDiscovery(fleet.local, documents, memo));
  let unified = deriveUnifiedView(viewsOf(documents), defined, settings, deriveMemo);
  encode(unified.apis);
  const heap = heapMiB() - before;
  const original = documents.get(fleet.changed.id) ?? [];
  const changes: number[] = [];
  const changedPasses: number[] = [];
  let readMs = 0;
  let changedEtag = '';
  for (let turn = 0; turn < repeat; turn++) {
    documents.set(fleet.changed.id, original);
    encode(mergeDiscovery(fleet.local, documents, memo));
    deriveUnifiedView(viewsOf(documents), defined, settings, deriveMemo);
    const [groups, ms] = timed(() =>
      pool.share(parseDiscoveryList(JSON.parse(readFileSync(fleet.changed.file, 'utf8')))),
    );
    readMs = ms;
    documents.set(fleet.changed.id, groups);
    // Each turn has its own encoder, which has seen everything except the change. So no turn profits from an earlier
    // one.
    const fresh = createDocumentEncoder();
    fresh(memo.list);
    const [encoded, changeMs] = timed(() => fresh(mergeDiscovery(fleet.local, documents, memo)));
    changedEtag = encoded.etag;
    changes.push(changeMs);
    const [view, passMs] = timed(() => deriveUnifiedView(viewsOf(documents), defined, settings, deriveMemo));
    unified = view;
    changedPasses.push(passMs);
  }
  const { divergent, documentsOf: _, apis, api, groups: _groups, resources: _resources, ...rest } = unified;
  const [encodedApis, encodedApi] = [encode(apis), encode(api)];
  const table: RoutingTable = {
    apiVersion: 'peerdiscovery.dev/v1alpha1',
    kind: 'RoutingTable',
    owner: 'cluster',
    revision: 1,
    complete: true,
    ...rest,
  };
  const bundle = {
    table,
    apis: encodedApis.text,
    apisEtag: encodedApis.etag,
    api: encodedApi.text,
    apiEtag: encodedApi.etag,
  };
  const startedAt = performance.now();
  const { shards } = await encodeBundle('table', bundle);
  const publishMs = performance.now() - startedAt;
  const statusInput = {
    generation: 1,
    unified,
    views: viewsOf(documents),
    leaseProblems: [],
    routingTable: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' },
  };
  const [, statusMs] = timed(() => deriveStatus(statusInput, undefined, 0, (at) => at));
  return {
    readMs: readsMs.reduce((sum, ms) => sum + ms, 0),
    longestReadMs: Math.max(...readsMs),
    mergeMs: median(merges),
    encodeMs: median(encodes),
    passMs: median(passes),
    firstPassMs: passes[0] ?? 0,
    changedMs: median(changes),
    changedPassMs: median(changedPasses),
    changedReadMs: readMs,
    statusMs,
    publishMs,
    publishedKiB: shards.reduce((sum, { bytes }) => sum + bytes.length, 0) / 1024,
    shards: shards.length,
    heapMiB: heap,
    divergent: divergent.length,
    etag,
    changedEtag,
  };
}

async function measureTheirs(binary: string, fleet: Fleet, repeat: number): Promise<Theirs> {
  const plan = {
    local: fleet.local,
    files: Object.fromEntries(fleet.files),
    changed: { [fleet.changed.id]: fleet.changed.file },
    repeat,
  };
  const [answer] = await runOracle(binary, ['time'], [plan]);
  const measured = answer as Omit<Theirs, 'mergeMs' | 'encodeMs' | 'changedMs'> & {
    readonly mergeMs: number[];
    readonly encodeMs: number[];
    readonly changedMs: number[];
  };
  return {
    ...measured,
    mergeMs: median(measured.mergeMs),
    encodeMs: median(measured.encodeMs),
    changedMs: median(measured.changedMs),
  };
}

const binary = await buildMergeOracle('0.36', progress);
const measurements: MergeMeasurement[] = [];

// An operator runs for a long time; a process that has just started still runs uncompiled code.
await inFolder((at) => measureOurs(writeFleet(at, 3, 5_000), 5));
for (const resources of resourceCounts)
  for (const peers of peerCounts) {
    await inFolder(async (at) => {
      const fleet = writeFleet(at, peers, resources);
      const repeat = peers * resources > 100_000 ? 3 : 5;
      const ours = await measureOurs(fleet, repeat);
      const theirs = await measureTheirs(binary, fleet, repeat);
      if (ours.etag !== theirs.etag || ours.changedEtag !== theirs.changedEtag)
        throw new Error(`the merges of ${peers} peers by ${resources} resources differ`);
      measurements.push({ peers, resources, ours, theirs });
      const told = (merge: number, encode: number) => `${(merge + encode).toFixed(1)} ms`;
      progress(
        `${peers} peers, ${resources} resources: ours ${told(ours.mergeMs, ours.encodeMs)}, after a change ` +
          `${ours.changedMs.toFixed(1)} ms; upstream ${told(theirs.mergeMs, theirs.encodeMs)}, ${theirs.changedMs.toFixed(1)} ms`,
      );
    });
  }
const setting = [
  `${availableParallelism()} cores, Linux ${release().split('-')[0]}, Node ${process.version}; the Go program is built with k8s.io/apiserver 0.36.3`,
];
writePage('merge.svg', writeChart(measurements));
publishReport('merge', writeMergeReport(setting, measurements));
