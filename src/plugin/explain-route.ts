import { absenceDoubts } from '../domain/absence-doubts.ts';
import { parseRequestInfo, type RequestInfo } from '../domain/request-info.ts';
import {
  type FieldRoute,
  isMisplaced,
  type NotFoundRule,
  type RouteDecision,
  routeRequest,
} from '../domain/route-request.ts';
import { type PeerSet, type RoutingTable, type TablePeer, takesWork } from '../domain/routing-table.ts';
import { showServedVersion } from '../domain/served-version.ts';
import { indexTable, type TableIndex } from '../domain/table-index.ts';
import type { PluginFlags } from '../flags/plugin-flags.ts';
import { exitCodes } from './exit-codes.ts';
import { closestPath, closestResource, findResources } from './find-resource.ts';
import { type Cell, createPaint, formatTable, type Paint, type Tone } from './format-table.ts';
import { nameOf } from './names.ts';
import { doubtAbout } from './peer-doubt.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { printData } from './print-data.ts';
import { confirmationAgeMs, readPublished, tableLocation } from './read-cluster.ts';
import { confirmedWithinMs } from './readiness-checks.ts';
import { stateTone } from './show-status.ts';

/** The route of a request if its home is this server. */
interface Outcome {
  readonly home: string;
  readonly goes: 'home' | 'peer' | 'discovery' | 'nowhere';
  /** The peers that it may be sent to, best first. */
  readonly to: readonly string[];
  readonly why: string;
  readonly verdict: 'served' | 'notFound' | 'unknown';
}

/** A peer that may or may not serve the resource. */
interface UnknownPeer {
  readonly peer: string;
  readonly why: string;
}

/** A whole explanation. */
export interface Explanation {
  readonly method: string;
  readonly path: string;
  readonly mode: RoutingTable['mode'];
  readonly revision: number;
  readonly request: Pick<RequestInfo, 'isResourceRequest' | 'group' | 'version' | 'resource' | 'subresource' | 'verb'>;
  readonly servedBy: readonly string[];
  /** Peers that are known not to serve it. */
  readonly missingFrom: readonly string[];
  /** Peers that are not known well enough to say whether they serve it. */
  readonly unknownOf: readonly string[];
  /** The reason why that is unknown, for each of them. */
  readonly doubts: readonly UnknownPeer[];
  readonly outcomes: readonly Outcome[];
  readonly alsoServedAs: readonly string[];
  /** The right path of the resource, if no server of the resource has the requested path. */
  readonly elsewhere?: string;
  /** The probable meaning, if no server serves the resource. */
  readonly closest?: string;
}

/**
 * `explain PATH|RESOURCE` lists the servers of a resource, the destination of a request, and the reason. It runs the
 * routing code of the proxies.
 *
 * Returns `yes` if it is served and the answer is certain for each server, `no` if no server serves it, and `unknown`
 * if some server is not known well enough, the answer is in doubt, or no server can serve it now.
 */
export async function explainRoute(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<number> {
  const { object, bundle } = await readPublished(cluster, flags);
  const asked = flags.arguments[0] ?? '';
  const found = asked.startsWith('/') ? [] : findResources(bundle, asked, flags.method);
  const path = asked.startsWith('/') ? asked : found[0]?.path;
  if (path === undefined) {
    if (absenceDoubts(bundle.table).length > 0)
      throw new PluginError(
        `no peer is known to serve a resource called ${JSON.stringify(asked)}, but some peers are not ` +
          `known well enough`,
        'wait until "kubectl peerdiscovery status" says Ready, then ask again',
      );
    context.stderr(
      `No server serves a resource called ${JSON.stringify(asked)}:\n` +
        `the routing table is complete (revision ${bundle.table.revision}).\n` +
        suggest(closestResource(bundle, asked)) +
        'See "kubectl peerdiscovery table" for what is served, or give a path, such as\n/apis/GROUP/VERSION/RESOURCE.\n',
    );
    return exitCodes.no;
  }
  const age = await confirmationAgeMs(cluster, tableLocation(object, flags), context.now());
  const explanation = explain(bundle.table, {
    method: flags.method,
    path,
    tableTooOld: age === undefined || age > confirmedWithinMs,
    alsoServedAs: found.slice(1).map((other) => other.path),
    closest: closestPath(bundle, path),
  });
  context.stdout(
    printData(explanation, flags.output) ??
      renderExplanation(explanation, bundle.table, createPaint(context), context.columns),
  );
  const verdicts = explanation.outcomes.map(({ verdict }) => verdict);
  if (verdicts.length === 0 || verdicts.includes('unknown') || explanation.unknownOf.length > 0)
    return exitCodes.unknown;
  return verdicts.includes('notFound') ? exitCodes.no : exitCodes.yes;
}

/** Explains one request for every server that could be its home. */
function explain(
  table: RoutingTable,
  asked: {
    readonly method: string;
    readonly path: string;
    readonly tableTooOld: boolean;
    readonly alsoServedAs: readonly string[];
    readonly closest: string | undefined;
  },
): Explanation {
  const parsed = parseRequestInfo(asked.method, asked.path);
  if (parsed.kind === 'bad')
    throw new PluginError(`${asked.path}: ${parsed.message}`, 'give the path that follows the host in a URL');
  const { info } = parsed;
  // In Observe, proxies send everything home. The user wants to know what Route would do.
  const index = indexTable({ ...table, mode: 'Route' });
  const usable = (at: number) => {
    const peer = table.peers[at];
    return peer !== undefined && takesWork(peer.state);
  };
  const elsewhere = pathElsewhere(index, info);
  const serving = elsewhere === undefined ? servingOf(index, info) : [];
  const discovery = unified.has(info.path);
  const names = (peers: PeerSet) => peers.map((at) => labelOf(table, at));
  const outcomes = table.peers.flatMap((peer, home): Outcome[] => {
    if (!usable(home)) return [];
    const decision = routeRequest(
      index,
      info,
      { home, usable, lastResort: () => false, alreadyRouted: false, tableTooOld: asked.tableTooOld },
      { discovery },
    );
    return [{ home: nameOf(peer), ...(describeOwn(info, peer) ?? describeDecision(decision, peer, names)) }];
  });
  const others =
    serving === undefined || elsewhere !== undefined
      ? []
      : [...table.peers.keys()].filter((at) => !serving.includes(at) && table.peers[at]?.state !== 'Gone');
  const doubts = others.flatMap((at): UnknownPeer[] => {
    const why = doubtAbout(table, at);
    return why === undefined ? [] : [{ peer: labelOf(table, at), why }];
  });
  return {
    method: asked.method,
    path: asked.path,
    mode: table.mode,
    revision: table.revision,
    request: pickInfo(info),
    servedBy: names(serving ?? []),
    missingFrom: names(others.filter((at) => doubtAbout(table, at) === undefined)),
    unknownOf: doubts.map(({ peer }) => peer),
    doubts,
    outcomes,
    alsoServedAs: asked.alsoServedAs,
    ...(elsewhere !== undefined && { elsewhere }),
    ...(info.isResourceRequest && serving?.length === 0 && asked.closest !== undefined && { closest: asked.closest }),
  };
}

/** A question on a separate line, or nothing. */
function suggest(closest: string | undefined): string {
  return closest === undefined ? '' : `Did you mean ${closest}?\n`;
}

/** The right path of a collection that was requested in a namespace but has none, or the other way round. */
function pathElsewhere(index: TableIndex, info: RequestInfo): string | undefined {
  const { group, version, resource, subresource } = info;
  const row = info.isResourceRequest ? index.resource(group, version, resource, subresource) : undefined;
  if (row === undefined || row.peers.length === 0 || !isMisplaced(info, row.scope)) return undefined;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  return `${root}${row.scope === 'Namespaced' ? '/namespaces/NAMESPACE' : ''}/${resource}`;
}

/** The proxy itself answers these with one document for all servers. */
const unified: ReadonlySet<string> = new Set(['/api', '/apis', '/openapi/v2', '/openapi/v3']);

/** Every kube-apiserver has these paths, whatever its version. */
const onEveryServer = /^\/(?:(?:healthz|livez|readyz)(?:\/.*)?|version\/?|metrics\/?|api\/v1\/?)?$/;

/** Describes a request that is not about an API. Home answers it, and the table does not say how. */
function describeOwn({ isResourceRequest, path }: RequestInfo, home: TablePeer): Omit<Outcome, 'home'> | undefined {
  if (isResourceRequest || unified.has(path) || path.startsWith('/apis/')) return undefined;
  const name = nameOf(home);
  return onEveryServer.test(path)
    ? { goes: 'home', to: [name], why: `${name} answers it, as every server does`, verdict: 'served' }
    : {
        goes: 'home',
        to: [name],
        why: `${name} answers it; the table knows only APIs, so the answer is unknown`,
        verdict: 'unknown',
      };
}

function servingOf(index: TableIndex, info: RequestInfo): PeerSet | undefined {
  if (info.isResourceRequest)
    return index.resource(info.group, info.version, info.resource, info.subresource)?.peers ?? [];
  const [, prefix, group, version] = info.path.split('/');
  if (prefix !== 'apis' || group === undefined || group === '') return undefined;
  return (version === undefined || version === '' ? index.group(group) : index.groupVersion(group, version)) ?? [];
}

function describeDecision(
  decision: RouteDecision,
  home: TablePeer,
  names: (peers: PeerSet) => readonly string[],
): Omit<Outcome, 'home'> {
  switch (decision.kind) {
    case 'home': {
      const { why, verdict } = describeHome(decision.notFound, nameOf(home), decision.fields);
      return { goes: 'home', to: [nameOf(home)], why, verdict };
    }
    case 'peer':
      return {
        goes: 'peer',
        to: names(decision.candidates),
        why: describePeer(decision.fields, nameOf(home)),
        verdict: 'served',
      };
    case 'discovery':
      return {
        goes: 'discovery',
        to: [],
        why: 'the proxy answers with the unified document of all servers, if the home server lets the client see discovery',
        verdict: 'served',
      };
    case 'unavailable':
      return { goes: 'nowhere', to: [], why: `503: ${decision.message}`, verdict: 'unknown' };
  }
}

function describePeer(fields: FieldRoute | undefined, home: string): string {
  switch (fields) {
    case undefined:
      return `${home} does not serve it`;
    case 'writer':
      return `${home} does not know all of its fields`;
    case 'standIn':
      return (
        `${home} does not know all of its fields; the servers that accept all are away, so the ` +
        `answer has a Warning`
      );
    case 'lossy':
      return (
        `${home} does not serve it, and no server that serves it knows all of its fields, so the ` +
        `answer has a Warning`
      );
  }
}

function describeHome(
  rule: NotFoundRule,
  home: string,
  fields: FieldRoute | undefined,
): Pick<Outcome, 'why' | 'verdict'> {
  switch (rule.kind) {
    case 'listed':
      return { why: describeServing(home, fields), verdict: 'served' };
    case 'doubt':
      return { why: `a 404 of ${home} becomes 503: ${rule.message}`, verdict: 'unknown' };
    case 'trust':
      return { why: `${home}'s own answer stands`, verdict: 'notFound' };
  }
}

function describeServing(home: string, fields: FieldRoute | undefined): string {
  switch (fields) {
    case undefined:
      return `${home} serves it`;
    case 'writer':
      return `${home} knows all of its fields`;
    case 'standIn':
      return (
        `${home} keeps all stored fields; the servers that accept all are away, so the answer to a ` +
        `write has a Warning`
      );
    case 'lossy':
      return (
        `${home} serves it, but no server that serves it knows all of its fields, so the answer to a ` +
        `write has a Warning`
      );
  }
}

function renderExplanation(explanation: Explanation, table: RoutingTable, paint: Paint, width?: number): string {
  const { method, path, request, outcomes, servedBy, missingFrom, unknownOf } = explanation;
  const lines = [`${paint('strong', `${method} ${path}`)}\n`];
  if (request.isResourceRequest) {
    const { group, version, resource, subresource, verb } = request;
    const what = subresource === '' ? resource : `${resource}/${subresource}`;
    lines.push(`${verb} ${what} of ${group === '' ? version : `${group}/${version}`}\n`);
  } else lines.push('not about a resource\n');
  const peers = table.peers.filter((peer) => [...servedBy, ...missingFrom, ...unknownOf].includes(nameOf(peer)));
  const tables: string[] = [];
  if (explanation.elsewhere !== undefined)
    tables.push(`No server has this path: a ${request.verb} of ${request.resource} is for ${explanation.elsewhere}.\n`);
  else if (request.isResourceRequest && servedBy.length === 0)
    tables.push(
      absenceDoubts(table).length === 0
        ? `No server serves it, and every live server is known, so the answer is 404.\n${suggest(explanation.closest)}`
        : `No server is known to serve it, but some live servers are not known well ` +
            `enough.\n${suggest(explanation.closest)}`,
    );
  else if (peers.length > 0)
    tables.push(
      formatTable(
        ['PEER', 'SERVES IT', 'VERSION', 'STATE', 'ADDRESS'],
        peers.map((peer): readonly Cell[] => {
          const name = nameOf(peer);
          const serves = servedBy.includes(name) ? 'yes' : unknownOf.includes(name) ? 'unknown' : 'no';
          return [
            { text: name, tone: 'strong' },
            { text: serves, tone: serves === 'yes' ? 'good' : serves === 'unknown' ? 'warning' : 'faint' },
            showServedVersion(peer) ?? '-',
            { text: peer.state, tone: stateTone(peer.state) },
            peer.address ?? '-',
          ];
        }),
        paint,
        width,
      ),
    );
  for (const { peer, why } of explanation.doubts) tables.push(`Whether ${peer} serves it is unknown: ${why}.\n`);
  if (outcomes.length === 0) tables.push('No server can be home now: every request gets 503.\n');
  else
    tables.push(
      formatTable(
        ['IF HOME IS', 'IT GOES TO', 'WHY'],
        outcomes.map(({ home, goes, to, why, verdict }): readonly Cell[] => {
          const tone: Tone = verdict === 'served' ? 'good' : verdict === 'unknown' ? 'bad' : 'warning';
          const where = goes === 'peer' ? to.join(' or ') : goes === 'home' ? to.join('') : 'the proxy itself';
          return [home, { text: goes === 'nowhere' ? 'nobody' : where, tone }, why];
        }),
        paint,
        width,
      ),
    );
  if (explanation.mode === 'Observe')
    tables.push(
      'The mode is Observe: proxies send every request home. The above is what\nRoute would do. Turn it on with:\n' +
        ` kubectl patch peerdiscovery ${table.owner} --type=merge -p '{"spec":{"mode":"Route"}}'\n`,
    );
  if (explanation.alsoServedAs.length > 0) tables.push(`Also served as ${explanation.alsoServedAs.join(', ')}.\n`);
  return `${lines.join('')}\n${tables.join('\n')}`;
}

function labelOf(table: RoutingTable, at: number): string {
  const peer = table.peers[at];
  return peer === undefined ? `peer ${at}` : nameOf(peer);
}

function pickInfo({ isResourceRequest, group, version, resource, subresource, verb }: RequestInfo) {
  return { isResourceRequest, group, version, resource, subresource, verb };
}
