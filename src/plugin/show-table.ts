import type { RoutingTable, TableGroupVersion } from '../domain/routing-table.ts';
import { showServedVersion } from '../domain/served-version.ts';
import { exitCodes } from './exit-codes.ts';
import { type Cell, createPaint, formatTable, type Paint } from './format-table.ts';
import { nameOf } from './names.ts';
import type { PluginFlags } from './plugin-flags.ts';
import type { Cluster, PluginContext } from './ports.ts';
import { printData } from './print-data.ts';
import { readPublished } from './read-cluster.ts';
import { stateTone } from './show-status.ts';

/** `table`: the published routing table, decoded; `unknown` if it is not complete. */
export async function showTable(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<number> {
  const { bundle } = await readPublished(cluster, flags);
  const { table } = bundle;
  context.stdout(
    printData(table, flags.output) ?? renderTable(table, flags.output === 'wide', createPaint(context.color)),
  );
  return table.complete ? exitCodes.yes : exitCodes.unknown;
}

function renderTable(table: RoutingTable, wide: boolean, paint: Paint): string {
  const head = `Routing table of ${table.owner}, revision ${table.revision}, mode ${table.mode}, servers bear ${table.serverName}\n`;
  const complete = table.complete
    ? `${paint('good', 'Complete')}: what it does not list, no server serves.\n`
    : `${paint('warning', 'Not complete')}: what it does not list is answered 503, not 404.\n${table.doubts
        .map(({ peer, reason, message }) => `  ${peer === '' ? '' : `${peer}: `}${reason}: ${message}\n`)
        .join('')}`;
  const peers = formatTable(
    ['#', 'PEER', 'VERSION', 'STATE', 'ADDRESS', 'ID'],
    table.peers.map((peer, at): readonly Cell[] => [
      String(at),
      { text: nameOf(peer), tone: 'strong' },
      showServedVersion(peer) ?? '-',
      { text: peer.state, tone: stateTone(peer.state) },
      peer.address ?? '-',
      peer.id,
    ]),
    paint,
  );
  const rows = table.groupVersions.flatMap((groupVersion) => groupVersionRows(groupVersion, table, wide));
  return [head + complete, peers, formatTable(['GROUP/VERSION', 'RESOURCE', 'ORIGIN', 'SERVED BY'], rows, paint)].join(
    '\n',
  );
}

function groupVersionRows(
  { group, version, origin, resources }: TableGroupVersion,
  { peers }: RoutingTable,
  wide: boolean,
): readonly (readonly Cell[])[] {
  const row = (name: string, serving: readonly number[]): readonly Cell[] => {
    const everyone = serving.length === peers.length;
    const names = serving.map((at) => peers[at]).map((peer) => (peer === undefined ? '?' : nameOf(peer)));
    return [
      group === '' ? version : `${group}/${version}`,
      name,
      origin,
      everyone ? 'all' : { text: names.join(', ') || 'nobody', tone: 'warning' },
    ];
  };
  return resources.flatMap(({ resource, peers: serving, subresources }) => {
    const below = Object.entries(subresources).filter(([, peersOf]) => wide || !same(peersOf, serving));
    return [row(resource, serving), ...below.map(([name, peersOf]) => row(`${resource}/${name}`, peersOf))];
  });
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, at) => value === b[at]);
}
