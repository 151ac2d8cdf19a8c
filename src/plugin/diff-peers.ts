import type { DivergentResource } from '../api/peer-discovery.ts';
import { didYouMean } from '../domain/closest-name.ts';
import { showServedVersion } from '../domain/served-version.ts';
import type { PluginFlags } from '../flags/plugin-flags.ts';
import { comparePeerFields, type PeerFields } from './compare-peer-fields.ts';
import { type Comparison, compareServed, servedByDocument, servedByPeer } from './compare-served.ts';
import { exitCodes } from './exit-codes.ts';
import { createPaint, type Paint } from './format-table.ts';
import { formatResource, nameOf } from './names.ts';
import { doubtAbout } from './peer-doubt.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { printData } from './print-data.ts';
import { readPublished } from './read-cluster.ts';
import { readDocument } from './read-document.ts';

/**
 * `diff PEER PEER`, or `diff NAME=FILE NAME=FILE` for saved documents. Returns `no` if they differ, like diff and
 * kubectl diff. Returns `unknown` if a peer is not known well enough, or if the status lists no difference but was cut.
 */
export async function diffPeers(flags: PluginFlags, connect: () => Cluster, context: PluginContext): Promise<number> {
  const [left = '', right = ''] = flags.arguments;
  const files = [left, right].filter((argument) => argument.includes('='));
  if (files.length === 1)
    throw new PluginError(
      `${files[0]} is a saved document and the other one is not`,
      'give two peers, or two documents as NAME=FILE',
    );
  const { titles, comparison, fields, inDoubt, cut } =
    files.length === 2
      ? await compareFiles(left, right, context)
      : comparePeers(left, right, await readPublished(connect(), flags), context);
  context.stdout(
    printData({ ...comparison, ...(fields.length > 0 && { fields }) }, flags.output) ??
      renderComparison(titles, comparison, fields, createPaint(context)),
  );
  if (inDoubt) return exitCodes.unknown;
  const { onlyLeft, onlyRight, changed } = comparison;
  if (onlyLeft.length + onlyRight.length + changed.length + fields.length > 0) return exitCodes.no;
  return cut ? exitCodes.unknown : exitCodes.yes;
}

async function compareFiles(left: string, right: string, context: PluginContext) {
  const read = async (argument: string) => {
    const at = argument.indexOf('=');
    const file = argument.slice(at + 1);
    if (at < 1 || file === '')
      throw new PluginError(`${JSON.stringify(argument)} is not NAME=FILE`, 'write it as old=old.json');
    return { title: argument.slice(0, at), served: servedByDocument(await readDocument(file, context)) };
  };
  const [a, b] = [await read(left), await read(right)];
  return {
    titles: [a.title, b.title] as const,
    comparison: compareServed(a.served, b.served),
    fields: [],
    inDoubt: false,
    cut: false,
  };
}

function comparePeers(
  left: string,
  right: string,
  { bundle: { table }, object: { status } }: Awaited<ReturnType<typeof readPublished>>,
  context: PluginContext,
) {
  const divergent = status?.divergent ?? [];
  const cut = (status?.omitted?.divergent ?? 0) > 0 || divergent.some(isCut);
  if (cut)
    context.stderr(
      'warning: the status does not list every difference, so peers may describe more resources differently;\n' +
        '  compare saved documents (diff NAME=FILE NAME=FILE) to see all\n',
    );
  const find = (name: string) => {
    const at = table.peers.findIndex(
      ({ id, hostname, address }) => name === id || name === hostname || name === address,
    );
    if (at >= 0) return at;
    const known = table.peers.map(nameOf);
    throw new PluginError(
      `no peer is called ${JSON.stringify(name)}${didYouMean(name, known)}`,
      `give a hostname, an id or an address: ${known.join(', ')}`,
    );
  };
  const [a, b] = [find(left), find(right)];
  const doubts = [a, b].flatMap((at) => {
    const doubt = doubtAbout(table, at);
    const peer = table.peers[at];
    return doubt === undefined || peer === undefined ? [] : [`${nameOf(peer)}: ${doubt}`];
  });
  for (const doubt of doubts) context.stderr(`warning: it is not known well what a peer serves: ${doubt}\n`);
  const title = (at: number) => {
    const peer = table.peers[at];
    return peer === undefined ? '' : `${nameOf(peer)} (${showServedVersion(peer) ?? 'version unknown'}, ${peer.state})`;
  };
  return {
    titles: [title(a), title(b)] as const,
    comparison: compareServed(servedByPeer(table, a, divergent), servedByPeer(table, b, divergent)),
    inDoubt: doubts.length > 0,
    cut,
    fields: comparePeerFields(status, table.peers[a]?.id ?? '', table.peers[b]?.id ?? ''),
  };
}

/** True if values or peers were omitted from a row. */
function isCut({ differences = [] }: DivergentResource): boolean {
  return differences.some(
    ({ values, omittedValues }) =>
      omittedValues !== undefined || values.some(({ peers, count }) => peers.length < count),
  );
}

/** Like a unified diff: `-` only left, `+` only right, `~` both but different. */
function renderComparison(
  titles: readonly [string, string],
  comparison: Comparison,
  fields: readonly PeerFields[],
  paint: Paint,
): string {
  const { onlyLeft, onlyRight, changed } = comparison;
  if (onlyLeft.length + onlyRight.length + changed.length + fields.length === 0)
    return `${titles[0]} and ${titles[1]} serve the same.\n`;
  const lines = [paint('bad', `--- ${titles[0]}`), paint('good', `+++ ${titles[1]}`)];
  for (const row of onlyLeft) lines.push(paint('bad', `- ${formatServed(row)}`));
  for (const row of onlyRight) lines.push(paint('good', `+ ${formatServed(row)}`));
  for (const row of changed) {
    lines.push(paint('warning', `~ ${formatServed(row)}`));
    for (const { fact, left, right } of row.changes)
      lines.push(`    ${fact}: ${left || '(none)'} -> ${right || '(none)'}`);
  }
  for (const row of fields) {
    lines.push(paint('warning', `~ fields of ${row.group === '' ? row.resource : `${row.resource}.${row.group}`}`));
    for (const path of row.onlyLeft) lines.push(paint('bad', `    - ${path}`));
    for (const path of row.onlyRight) lines.push(paint('good', `    + ${path}`));
    for (const path of row.described) lines.push(`    ~ ${path}`);
  }
  return `${lines.join('\n')}\n`;
}

/** `resource.version.group`, with the subresource after a slash, as for `kubectl get --subresource`. */
export function formatServed(row: {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}): string {
  const [resource = '', subresource] = row.resource.split('/');
  const name = formatResource({ ...row, resource });
  return subresource === undefined ? name : `${name}/${subresource}`;
}
