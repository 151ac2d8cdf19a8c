import { absenceDoubts } from '../domain/absence-doubts.ts';
import { isStream } from '../domain/request-info.ts';
import type { FieldWriters, PeerSet, RoutingTable, TableGroupVersion, TablePeer } from '../domain/routing-table.ts';
import { showServedVersion } from '../domain/served-version.ts';
import type { PluginFlags } from '../flags/plugin-flags.ts';
import { exitCodes } from './exit-codes.ts';
import { type Cell, createPaint, formatTable, type Paint, wrapText } from './format-table.ts';
import { nameOf } from './names.ts';
import type { Cluster, PluginContext } from './ports.ts';
import { printData } from './print-data.ts';
import { readPublished } from './read-cluster.ts';
import { stateTone } from './show-status.ts';

/** `table`: the published routing table, decoded; `unknown` if a server may serve what it does not list. */
export async function showTable(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<number> {
  const { bundle } = await readPublished(cluster, flags);
  const { table } = bundle;
  context.stdout(
    printData(table, flags.output) ??
      renderTable(table, flags.output === 'wide', createPaint(context), context.columns),
  );
  return absenceDoubts(table).length === 0 ? exitCodes.yes : exitCodes.unknown;
}

/** With `wide`, it uses its natural width. */
function renderTable(table: RoutingTable, wide: boolean, paint: Paint, columns: number | undefined): string {
  const width = wide ? undefined : columns;
  const skew = table.fieldSkew === undefined ? '' : `, fieldSkew ${table.fieldSkew}`;
  const title =
    `Routing table of ${table.owner}, revision ${table.revision}, mode ${table.mode}${skew}, ` +
    `server name ${table.serverName}`;
  const head = `${(width === undefined ? [title] : wrapText(title, width)).join('\n')}\n`;
  const doubts = absenceDoubts(table);
  const complete =
    doubts.length === 0
      ? `${paint('good', 'Complete')}: no server serves what it does not list.\n`
      : `${paint('warning', 'Not complete')}: requests for what it does not list get 503, not 404.\n${doubts
          .map(({ peer, reason, message }) => `  ${peer === '' ? '' : `${peer}: `}${reason}: ${message}\n`)
          .join('')}`;
  const peers = formatTable(
    ['#', 'PEER', 'VERSION', 'STATE', 'ADDRESS', 'ID'],
    table.peers.map((peer, at): readonly Cell[] => [
      String(at),
      { text: nameOf(peer), tone: 'strong' },
      showServedVersion(peer) ?? '-',
      peer.inDoubt === true
        ? { text: `${peer.state}, in doubt`, tone: 'warning' }
        : { text: peer.state, tone: stateTone(peer.state) },
      peer.address ?? '-',
      peer.id,
    ]),
    paint,
    width,
  );
  const writes = table.groupVersions.some(({ resources }) =>
    resources.some(({ writers, subresourceWriters }) => (writers ?? subresourceWriters) !== undefined),
  );
  const header = ['GROUP/VERSION', 'RESOURCE', 'ORIGIN', 'SERVED BY', ...(writes ? ['WRITES GO TO'] : [])];
  const rows = table.groupVersions.flatMap((groupVersion) => groupVersionRows(groupVersion, table, wide, writes));
  return [head + complete, peers, formatTable(header, rows, paint, width)].join('\n');
}

function groupVersionRows(
  { group, version, origin, resources }: TableGroupVersion,
  { peers }: RoutingTable,
  wide: boolean,
  writes: boolean,
): readonly (readonly Cell[])[] {
  const row = (name: string, serving: PeerSet, fields: Partial<FieldWriters>): Cell[] => {
    const everyone = serving.length === peers.length;
    const names = namesOf(serving, peers, nameOf);
    return [
      group === '' ? version : `${group}/${version}`,
      name,
      origin,
      everyone ? 'all' : { text: names || 'nobody', tone: 'warning' },
      ...(writes ? [showWriters(fields, serving, peers)] : []),
    ];
  };
  return resources.flatMap(({ resource, peers: serving, subresources, subresourceWriters = {}, ...fields }) => {
    const below = Object.entries(subresources).filter(
      ([name, peersOf]) => wide || !same(peersOf, serving) || subresourceWriters[name] !== undefined,
    );
    const fieldsOf = (name: string) => (isStream(name) ? {} : (subresourceWriters[name] ?? fields));
    return [
      row(resource, serving, fields),
      ...below.map(([name, peersOf]) => row(`${resource}/${name}`, peersOf, fieldsOf(name))),
    ];
  });
}

/**
 * The writers, the stand-ins, and the peers that are not known well enough; `any` if every peer of the resource may
 * write.
 */
function showWriters({ writers, standIns = [] }: Partial<FieldWriters>, serving: PeerSet, peers: Peers): Cell {
  if (writers === undefined || writers.length === serving.length) return 'any';
  const names = (set: PeerSet) =>
    namesOf(set, peers, (peer) => `${nameOf(peer)}${peer.inDoubt === true ? ' (in doubt)' : ''}`);
  if (writers.length === 0) return { text: `${names(standIns)}, which may lose fields`, tone: 'bad' };
  return { text: `${names(writers)}${standIns.length === 0 ? '' : `; ${names(standIns)} if away`}`, tone: 'warning' };
}

function namesOf(set: PeerSet, peers: Peers, name: (peer: TablePeer) => string): string {
  return set.map((at) => (peers[at] === undefined ? '?' : name(peers[at]))).join(', ');
}

type Peers = readonly TablePeer[];

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, at) => value === b[at]);
}
