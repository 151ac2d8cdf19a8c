import type { RoutingTable } from '../domain/routing-table.ts';
import type { PluginFlags } from '../flags/plugin-flags.ts';
import { type Check, renderChecks } from './checks.ts';
import {
  compareServed,
  type ServedResource,
  type ServedResources,
  servedByDocument,
  servedByPeer,
} from './compare-served.ts';
import { formatServed } from './diff-peers.ts';
import { exitCodes } from './exit-codes.ts';
import { type Cell, createPaint, formatTable, type Paint } from './format-table.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { printData } from './print-data.ts';
import { confirmationAgeMs, readPublished, tableLocation } from './read-cluster.ts';
import { readDocument, readText } from './read-document.ts';
import { readAuditUsage, readMetricsUsage, type Usage } from './read-usage.ts';
import { checkReadiness } from './readiness-checks.ts';

/** A resource that the upgrade removes, its clients, and other versions in which the target serves it. */
interface Disappearing {
  readonly resource: string;
  readonly servedInsteadAs: string | undefined;
  readonly usedBy: readonly Omit<Usage, 'group' | 'version' | 'resource'>[];
}

/** The outcome of `preflight`. */
export interface Preflight {
  readonly ready: boolean;
  readonly checks: readonly Check[];
  readonly appear: readonly string[];
  readonly disappear: readonly Disappearing[];
}

/**
 * `preflight` checks whether the control plane is ready for an upgrade, and lists what the upgrade changes. Returns
 * `no` if something speaks against it.
 */
export async function preflight(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<number> {
  const { object, bundle } = await readPublished(cluster, flags);
  const age = await confirmationAgeMs(cluster, tableLocation(object, flags), context.now());
  const checks = [...checkReadiness(object, { confirmationAgeMs: age, targetVersion: flags.targetVersion })];
  let appear: readonly ServedResource[] = [];
  let disappear: readonly Disappearing[] = [];
  if (flags.target.length === 0)
    checks.push({
      ...{ name: 'changes', level: 'skip', message: 'it is not known what will appear and disappear' },
      cure: "give --target FILE: the target version's saved /apis (and --target FILE again for its /api)",
    });
  else {
    const target = servedByDocument((await readAll(flags.target, context)).flat());
    const changes = compareBuiltIn(bundle.table, target);
    appear = changes.onlyRight;
    const seen = await readAllUsage(flags, cluster, context, new Set(changes.onlyLeft.map(keyOf)));
    disappear = changes.onlyLeft.map((row) => describeDisappearing(row, target, seen.usage));
    checks.push(...seen.checks, checkDisappearing(disappear, seen.known));
  }
  const ready = checks.every(({ level }) => level !== 'fail');
  const result: Preflight = { ready, checks, appear: appear.map(formatServed), disappear };
  context.stdout(printData(result, flags.output) ?? renderPreflight(result, createPaint(context), context.columns));
  return ready ? exitCodes.yes : exitCodes.no;
}

async function readAll(files: readonly string[], context: PluginContext) {
  return Promise.all(files.map((file) => readDocument(file, context)));
}

/**
 * CustomResourceDefinitions and aggregated APIs belong to the cluster and survive an upgrade. Without a document of the
 * core group, that group is skipped.
 */
function compareBuiltIn(table: RoutingTable, target: ServedResources) {
  const groups = new Set([...target.values()].map(({ group }) => group));
  const builtIn = table.groupVersions.filter(
    ({ group, origin }) => origin === 'BuiltIn' && (group !== '' || groups.has('')),
  );
  const { onlyLeft, onlyRight } = compareServed(servedByPeer({ ...table, groupVersions: builtIn }, 'any'), target);
  const everything = servedByPeer(table, 'any');
  return { onlyLeft, onlyRight: onlyRight.filter((row) => !everything.has(keyOf(row))) };
}

async function readAllUsage(
  flags: PluginFlags,
  cluster: Cluster,
  context: PluginContext,
  keys: ReadonlySet<string>,
): Promise<{ readonly usage: readonly Usage[]; readonly known: boolean; readonly checks: readonly Check[] }> {
  const usage: Usage[] = [];
  const checks: Check[] = [];
  const wanted = (key: string) => keys.has(key);
  for (const file of flags.auditLogs) {
    const read = await readAuditUsage(context.readLines(file), wanted);
    if (read.events === 0)
      throw new PluginError(
        `${file} has no audit event (${read.skipped} other lines)`,
        "give the API server's --audit-log-path file, with --audit-log-format=json",
      );
    usage.push(...read.usage);
    checks.push({ name: 'audit log', level: 'ok', message: `${file}: ${read.events} events` });
  }
  for (const file of flags.metricsFiles) usage.push(...readMetricsUsage(await readText(file, context), wanted));
  if (flags.metricsFiles.length === 0) {
    try {
      usage.push(...readMetricsUsage(await cluster.text('/metrics'), wanted));
      checks.push({
        ...{ name: 'metrics', level: 'ok' },
        message: `${cluster.serverUrl} was asked; a server counts only its own requests, and only since its start`,
      });
    } catch (error) {
      if (!(error instanceof PluginError)) throw error;
      checks.push({
        ...{ name: 'metrics', level: 'skip', message: error.message },
        cure: 'save each server\'s with "kubectl get --raw /metrics" and give --metrics-file FILE',
      });
    }
  }
  const known = flags.auditLogs.length > 0;
  return { usage, known, checks };
}

function describeDisappearing(row: ServedResource, target: ServedResources, usage: readonly Usage[]): Disappearing {
  const instead = [...target.values()].find(
    ({ group, version, resource }) => group === row.group && resource === row.resource && version !== row.version,
  );
  const usedBy = usage
    .filter((one) => keyOf(one) === keyOf(row))
    .map(({ group: _, version: __, resource: ___, ...rest }) => rest);
  return { resource: formatServed(row), servedInsteadAs: instead && formatServed(instead), usedBy };
}

function checkDisappearing(disappear: readonly Disappearing[], auditKnown: boolean): Check {
  const name = 'disappearing';
  const used = disappear.filter(({ usedBy }) => usedBy.length > 0);
  if (disappear.length === 0) return { name, level: 'ok', message: 'nothing that is served now disappears' };
  if (used.length > 0)
    return {
      ...{
        name,
        level: 'fail',
        message: `${used.length} of ${disappear.length} resources that disappear are still used`,
      },
      cure: 'move these clients to the version that the target serves before you upgrade',
    };
  if (auditKnown) return { name, level: 'ok', message: `${disappear.length} resources disappear; nobody used them` };
  return {
    ...{
      name,
      level: 'warn',
      message: `${disappear.length} resources disappear; whether clients use them is not known`,
    },
    cure: 'give --audit-log FILE of every server, for a whole business cycle',
  };
}

function renderPreflight({ ready, checks, appear, disappear }: Preflight, paint: Paint, width?: number): string {
  const parts = [renderChecks('CHECK', checks, paint, width)];
  if (disappear.length > 0) parts.push(disappearTable(disappear, paint, width));
  if (appear.length > 0)
    parts.push(
      formatTable(
        ['WILL APPEAR'],
        appear.map((name) => [{ text: `+ ${name}`, tone: 'good' }]),
        paint,
      ),
    );
  const verdict = ready
    ? paint('good', 'No check speaks against the upgrade.')
    : paint('bad', 'Not ready: see what failed above.');
  return `${parts.join('\n')}\n${verdict}\n`;
}

function disappearTable(disappear: readonly Disappearing[], paint: Paint, width?: number): string {
  const rows = disappear.flatMap(({ resource, servedInsteadAs, usedBy }): readonly (readonly Cell[])[] => {
    const users = usedBy.map(({ source, user, userAgent, verbs, requests, last }) =>
      source === 'metrics'
        ? 'somebody, according to the metrics'
        : `${user} (${userAgent}; ${verbs.join(',')}; ${requests} requests, last ${last})`,
    );
    const first = [
      { text: `- ${resource}`, tone: users.length > 0 ? 'bad' : 'warning' } as const,
      servedInsteadAs ?? '-',
      users[0] ?? '-',
    ];
    return [first, ...users.slice(1).map((user) => ['', '', user])];
  });
  return formatTable(['WILL DISAPPEAR', 'SERVED INSTEAD AS', 'STILL USED BY'], rows, paint, width);
}

function keyOf({ group, version, resource }: Pick<ServedResource, 'group' | 'version' | 'resource'>): string {
  return `${group}/${version}/${resource}`;
}
