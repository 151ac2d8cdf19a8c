import type { Condition, PeerDiscovery, PeerStatus } from '../api/peer-discovery.ts';
import { showServedVersion } from '../domain/served-version.ts';
import type { Output, PluginFlags } from '../flags/plugin-flags.ts';
import { describeChanges } from './describe-changes.ts';
import { exitCodes } from './exit-codes.ts';
import { type Cell, createPaint, formatTable, type Paint, type Tone, usualColumns, wrapText } from './format-table.ts';
import { formatResource, nameOf } from './names.ts';
import type { Cluster, PluginContext } from './ports.ts';
import { printData } from './print-data.ts';
import { readObject } from './read-cluster.ts';

const shortDifferences = 15;

/** `status`: peers and their differences; `no` if the object is not Ready. */
export async function showStatus(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<number> {
  if (flags.watch) {
    await watchStatus(flags, cluster, context);
    return exitCodes.yes;
  }
  const object = await readObject(cluster, flags);
  context.stdout(renderObject(object, flags.output, context));
  switch (conditionOf(object, 'Ready')?.status) {
    case 'True':
      return exitCodes.yes;
    case 'False':
      return exitCodes.no;
    default:
      return exitCodes.unknown;
  }
}

async function watchStatus(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<void> {
  const show = flags.output === 'json' || flags.output === 'yaml' ? showObjects : showChanges;
  await cluster.watchObject(flags.name, show(flags, context), context.signal);
}

/** Prints every object completely, for programs. */
function showObjects({ output }: PluginFlags, context: PluginContext): (object: PeerDiscovery | undefined) => void {
  let before = '';
  return (object) => {
    if (object === undefined) return;
    const text = output === 'json' ? `${JSON.stringify(object)}\n` : renderObject(object, output, context);
    if (text === before) return;
    context.stdout(before === '' || output === 'json' ? text : `---\n${text}`);
    before = text;
  };
}

/** Prints the status once, and then each change with the time at which it was seen. */
function showChanges(flags: PluginFlags, context: PluginContext): (object: PeerDiscovery | undefined) => void {
  let before: { readonly object: PeerDiscovery | undefined } | undefined;
  return (object) => {
    if (before?.object === undefined && object !== undefined)
      context.stdout(`${renderObject(object, flags.output, context)}\n`);
    else if (before === undefined) context.stdout(`there is no PeerDiscovery ${flags.name} yet\n`);
    else {
      const time = `${new Date(context.now()).toISOString().slice(0, 19)}Z`;
      const room = widthOf(flags.output, context) - time.length - 2;
      for (const change of describeChanges(before.object, object)) {
        const [first, ...more] = wrapText(change.replace(/\p{Cc}+/gu, ' '), room);
        context.stdout([`${time}  ${first}`, ...more.map((line) => ' '.repeat(time.length + 2) + line), ''].join('\n'));
      }
    }
    before = { object };
  };
}

/** `-o wide` uses its natural width; all other output fits the terminal, or 80 columns. */
function widthOf(output: Output, { columns }: PluginContext): number {
  // If standard output is not a terminal, its reader has one.
  return output === 'wide' ? Number.POSITIVE_INFINITY : (columns ?? usualColumns);
}

function renderObject(object: PeerDiscovery, output: Output, context: PluginContext): string {
  return (
    printData(withoutManagedFields(object), output) ??
    renderStatus(object, {
      wide: output === 'wide',
      paint: createPaint(context),
      width: widthOf(output, context),
      now: context.now(),
    })
  );
}

/** Omitted as in kubectl, because they are for machines. */
function withoutManagedFields(object: PeerDiscovery): PeerDiscovery {
  const { managedFields: _, ...metadata } = object.metadata as typeof object.metadata & { managedFields?: unknown };
  return { ...object, metadata };
}

/** Options for printing a status. */
interface Look {
  readonly wide: boolean;
  readonly paint: Paint;
  readonly width: number;
  readonly now: number;
}

/** The status for people. */
function renderStatus({ metadata, spec, status }: PeerDiscovery, look: Look): string {
  const { paint, width } = look;
  const wrapped = (text: string) => `${wrapText(text, width).join('\n')}\n`;
  const named = `PeerDiscovery ${metadata.name}`;
  const facts = [
    named,
    `mode ${status?.mode ?? spec?.mode ?? 'Observe'}`,
    `revision ${status?.revision ?? 'none'}`,
    `${status?.groups ?? 0} groups`,
    `${status?.resources ?? 0} resources`,
  ];
  const title = wrapped(facts.join(', ')).replace(named, () => paint('strong', named));
  if (status?.conditions === undefined)
    return `${title}\n${wrapped('The operator has not looked at it yet. Check that it runs: "kubectl peerdiscovery doctor".')}`;
  const parts = [title, conditionTable(status.conditions, look)];
  const peers = status.peers ?? [];
  if (peers.length > 0) parts.push(peerTable(peers, look));
  if (status.omitted !== undefined && status.omitted.peers > 0)
    parts.push(wrapped(`${status.omitted.peers} more peers are left out of the status to keep it small.`));
  const differences = differenceTable(status, look);
  if (differences !== '') parts.push(differences);
  const problems = status.leaseProblems ?? [];
  if (problems.length > 0)
    parts.push(
      formatTable(
        ['LEASE WITHOUT PEER', 'REASON', 'MESSAGE'],
        problems.map(({ lease, reason, message }) => [lease, { text: reason, tone: 'warning' }, message]),
        paint,
        width,
      ),
    );
  return parts.join('\n');
}

function conditionTable(conditions: readonly Condition[], { paint, width }: Look): string {
  const rows = conditions.map(({ type, status, reason, message }): readonly Cell[] => {
    const good = type === 'Stale' || type === 'Stalled' ? 'False' : 'True';
    const tone: Tone = status === good ? 'good' : type === 'Converged' || type === 'Stale' ? 'warning' : 'bad';
    return [type, { text: status, tone }, reason, message];
  });
  return formatTable(['CONDITION', 'STATUS', 'REASON', 'MESSAGE'], rows, paint, width);
}

function peerTable(peers: readonly PeerStatus[], { wide, paint, width, now }: Look): string {
  const header = ['PEER', 'VERSION', 'STATE', 'ADDRESS', 'GROUPS', 'RESOURCES'];
  if (wide) header.push('SOURCE', 'TRUST', 'FORM', 'HASH', 'CHANGED', 'MVP', 'ID');
  header.push('REASON');
  const rows = peers.map((peer): readonly Cell[] => {
    const cells: Cell[] = [
      { text: nameOf(peer), tone: 'strong' },
      showServedVersion(peer) ?? '-',
      { text: peer.state, tone: stateTone(peer.state) },
      peer.address ?? '-',
      String(peer.groups ?? '-'),
      String(peer.resources ?? '-'),
    ];
    if (wide)
      cells.push(
        peer.addressSource ?? '-',
        peer.trust ?? '-',
        peer.documentForm ?? '-',
        peer.documentHash ?? '-',
        peer.lastSuccessTime === undefined ? '-' : formatAge(now - Date.parse(peer.lastSuccessTime)),
        peer.peerAggregated === undefined ? '-' : peer.peerAggregated ? 'yes' : 'no',
        peer.id,
      );
    cells.push(peer.message === undefined ? peer.reason : `${peer.reason}: ${peer.message}`);
    return cells;
  });
  return formatTable(header, rows, paint, width);
}

function differenceTable(status: PeerDiscovery['status'], { wide, paint, width }: Look): string {
  const divergent = status?.divergent ?? [];
  if (divergent.length === 0) return '';
  const names = new Map((status?.peers ?? []).map((peer) => [peer.id, nameOf(peer)]));
  const named = (ids: readonly string[]) => ids.map((id) => names.get(id) ?? id).join(', ') || '-';
  const shown = wide ? divergent : divergent.slice(0, shortDifferences);
  const table = formatTable(
    ['DIFFERENCE', 'SERVED BY', 'MISSING FROM'],
    shown.map(({ group, version, resource, subresource, servedBy, missingFrom, differences = [] }) => [
      `${formatResource({ group, version, resource })}${subresource === undefined ? '' : `/${subresource}`}`,
      { text: named(servedBy), tone: 'good' },
      {
        text: [
          ...(missingFrom.length > 0 ? [named(missingFrom)] : []),
          ...differences.map(({ field }) => `differ in ${field}`),
        ].join('; '),
        tone: 'warning',
      },
    ]),
    paint,
    width,
  );
  const total = status?.divergentResources ?? divergent.length;
  const hidden = total - shown.length;
  if (hidden <= 0) return table;
  const where =
    shown.length < divergent.length ? '-o wide lists them' : '"kubectl peerdiscovery diff PEER PEER" lists them';
  return `${table}${wrapText(`… and ${hidden} more; ${where}.`, width).join('\n')}\n`;
}

export function stateTone(state: string): Tone {
  if (state === 'Ready') return 'good';
  return state === 'Stale' || state === 'NotReady' ? 'warning' : 'bad';
}

export function conditionOf(object: PeerDiscovery, type: string): Condition | undefined {
  return object.status?.conditions?.find((condition) => condition.type === type);
}

/** Like kubectl's ages: the two largest units at most. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h${minutes % 60 === 0 ? '' : `${minutes % 60}m`}` : `${Math.floor(hours / 24)}d`;
}
