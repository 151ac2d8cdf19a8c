import { apiVersion, kind, type PeerDiscovery } from '../api/peer-discovery.ts';
import { electionLease } from '../api/table-name.ts';
import { documentationUrl } from '../domain/documentation-url.ts';
import type { PluginFlags } from '../flags/plugin-flags.ts';
import { describeCaFault } from '../runtime/describe-ca-fault.ts';
import { type Check, renderChecks } from './checks.ts';
import { checkDistribution } from './distribution.ts';
import { exitCodes } from './exit-codes.ts';
import { checkGates, comparablePeers, type GatesOfPeer, readGates } from './feature-gates.ts';
import { type Account, findAccounts } from './find-accounts.ts';
import { createPaint } from './format-table.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { printData } from './print-data.ts';
import { confirmationAgeMs, operatorNamespace, readObject, tableLocation } from './read-cluster.ts';
import { checkCondition, checkConfirmed } from './readiness-checks.ts';
import { formatAccess, requiredAccess } from './required-access.ts';
import {
  checkAddresses,
  checkCertificates,
  checkClocks,
  checkUpstreamProxy,
  type InspectedPeer,
} from './server-checks.ts';
import { conditionOf, formatAge } from './show-status.ts';

const leaderWithinMs = 60_000;

/** `doctor` checks all dependencies of PeerDiscovery. Returns `no` if something is broken. */
export async function doctor(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<number> {
  const checks = [
    await unlessRefused('API server', () => checkServer(cluster)),
    await unlessRefused('CustomResourceDefinition', () => checkDefinition(cluster)),
  ];
  if (checks.every(({ level }) => level !== 'fail')) checks.push(...(await checkInstallation(flags, cluster, context)));
  if (checks.some(({ level }) => level !== 'skip')) checks.push(await checkDistribution(cluster));
  const healthy = checks.every(({ level }) => level === 'skip') ? null : checks.every(({ level }) => level !== 'fail');
  context.stdout(
    printData({ healthy, checks }, flags.output) ??
      renderChecks('CHECK', checks, createPaint(context), context.columns),
  );
  if (healthy === null) return exitCodes.unknown;
  return healthy ? exitCodes.yes : exitCodes.no;
}

/**
 * If the API server refuses access, the check is skipped and says so. If the server does not answer, the command ends.
 */
async function unlessRefused(name: string, look: () => Promise<Check>): Promise<Check> {
  try {
    return await look();
  } catch (error) {
    if (!isRefused(error)) throw error;
    return { name, level: 'skip', message: error.message, cure: error.cure };
  }
}

function isRefused(error: unknown): error is PluginError {
  return error instanceof PluginError && error.refused;
}

async function checkServer(cluster: Cluster): Promise<Check> {
  const version = await cluster.get<{ readonly gitVersion?: string }>('/version');
  return { name: 'API server', level: 'ok', message: `${cluster.serverUrl}, ${version?.gitVersion ?? 'unknown'}` };
}

async function checkDefinition(cluster: Cluster): Promise<Check> {
  const name = 'CustomResourceDefinition';
  const crd = await cluster.get<{ readonly status?: { readonly conditions?: readonly Record<string, string>[] } }>(
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/peerdiscoveries.peerdiscovery.dev',
  );
  if (crd === undefined)
    return {
      ...{ name, level: 'fail', message: 'peerdiscoveries.peerdiscovery.dev is not installed' },
      cure: `install PeerDiscovery: ${documentationUrl('guides/install.md')}`,
    };
  const established = crd.status?.conditions?.find(({ type }) => type === 'Established');
  if (established?.status === 'True') return { name, level: 'ok', message: 'installed and established' };
  return {
    ...{ name, level: 'fail', message: `not established: ${established?.message ?? 'no condition yet'}` },
    cure: 'kubectl describe crd peerdiscoveries.peerdiscovery.dev says why',
  };
}

async function checkInstallation(
  flags: PluginFlags,
  cluster: Cluster,
  context: PluginContext,
): Promise<readonly Check[]> {
  let object: PeerDiscovery;
  try {
    object = await readObject(cluster, flags);
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    const check = { name: 'PeerDiscovery', message: error.message, cure: error.cure };
    if (!error.refused) return [{ ...check, level: 'fail' }];
    return [{ ...check, level: 'skip' }, ...(await checkAround(flags, cluster, context, undefined))];
  }
  const peers = object.status?.peers ?? [];
  const { caBundle, serverName = 'kubernetes.default.svc' } = object.spec?.tls ?? {};
  const caPem = caBundle === undefined ? undefined : Buffer.from(caBundle, 'base64').toString('utf8');
  const caFault = caPem === undefined ? undefined : describeCaFault(caPem);
  const inspected = await Promise.all(
    peers.map(async (peer) => ({
      peer,
      inspection:
        // With an invalid bundle, every server would look bad.
        peer.address === undefined || caFault !== undefined
          ? undefined
          : await cluster.inspectServer(peer.address, serverName, caPem),
    })),
  );
  const shared = comparablePeers(peers);
  const comparable = inspected.filter(({ peer }) => shared.includes(peer));
  return [
    checkCondition(object),
    checkStalled(object),
    ...(caFault === undefined ? [] : [checkBundle(caFault)]),
    ...(await checkAround(flags, cluster, context, object)),
    ...checkAddresses(peers),
    ...checkCertificates(inspected, context.now()),
    ...checkClocks(inspected),
    checkUpstreamProxy(peers),
    ...checkGates(await Promise.all(comparable.map((server) => gatesOf(server, cluster, serverName)))),
  ];
}

/** A server's feature gates, or why they are unknown. Unknown gates are not a failure. */
async function gatesOf(
  { peer, inspection }: InspectedPeer,
  cluster: Cluster,
  serverName: string,
): Promise<GatesOfPeer> {
  if (peer.address === undefined) return { kind: 'unread', peer, message: 'it has no address' };
  if (peer.state === 'Refused') return { kind: 'unread', peer, message: peer.message ?? peer.reason };
  if (inspection?.kind !== 'verified')
    return { kind: 'unread', peer, message: inspection?.message ?? 'its certificate was not verified' };
  try {
    const gates = readGates(await cluster.textOf({ address: peer.address, serverName }, '/metrics'));
    if (gates.size > 0) return { kind: 'read', peer, gates };
    return { kind: 'unread', peer, message: 'its metrics name no feature gates' };
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    return { kind: 'unread', peer, message: error.message };
  }
}

/** Checks the surroundings of the object. If the object may not be read, it assumes the defaults. */
async function checkAround(
  flags: PluginFlags,
  cluster: Cluster,
  context: PluginContext,
  object: PeerDiscovery | undefined,
): Promise<readonly Check[]> {
  const own = operatorNamespace(flags, object);
  const location = tableLocation(object ?? { apiVersion, kind, metadata: { name: flags.name } }, flags);
  const namespaces = {
    own,
    leases: object?.spec?.leases?.namespace ?? 'kube-system',
    table: location,
  };
  const routes = (object?.spec?.mode ?? 'Observe') === 'Route';
  const [operators, proxies] = await Promise.all([
    findAccounts(cluster, 'operator', own),
    findAccounts(cluster, 'proxy', own),
  ]);
  return [
    await unlessRefused('leader', () => checkLeader(cluster, own, context.now())),
    await unlessRefused('routing table', () => checkTable(cluster, location)),
    await unlessRefused('table confirmed', async () =>
      checkConfirmed(await confirmationAgeMs(cluster, location, context.now())),
    ),
    ...(await Promise.all(operators.map((account) => checkAccess('operator', account, cluster, namespaces)))),
    ...(await Promise.all(proxies.map((account) => checkProxyAccess(routes, account, cluster, namespaces)))),
  ];
}

function checkBundle(fault: string): Check {
  return {
    ...{ name: 'CA bundle', level: 'fail', message: `spec.tls.caBundle: ${fault}` },
    cure: 'set spec.tls.caBundle to PEM certificates in base64: the output of "base64 -w0 ca.crt"',
  };
}

async function checkTable(cluster: Cluster, location: ReturnType<typeof tableLocation>): Promise<Check> {
  const name = 'routing table';
  const read = await cluster.readBundle(location);
  if (read.ok) return { name, level: 'ok', message: `${location.namespace}/${location.name} is whole` };
  return {
    ...{ name, level: 'fail', message: read.reason },
    cure:
      `read the operator's log; if the ConfigMap ${location.namespace}/${location.name} is damaged, ` +
      `delete it, and the operator writes it again`,
  };
}

/** In mode Observe without proxies, these rights are not needed. */
async function checkProxyAccess(
  routes: boolean,
  account: Account,
  cluster: Cluster,
  namespaces: Parameters<typeof requiredAccess>[1],
): Promise<Check> {
  const check = await checkAccess('proxy', account, cluster, namespaces);
  if (check.level !== 'fail' || routes || account.found) return check;
  return {
    ...{ name: check.name, level: 'skip', message: `mode Observe needs no proxy; ${check.message}` },
    cure: 'install the proxies (config/overlays/routing or the Helm chart) before you set spec.mode to Route',
  };
}

async function checkLeader(cluster: Cluster, namespace: string, now: number): Promise<Check> {
  const name = 'leader';
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${electionLease}`;
  const lease = await cluster.get<{
    readonly spec?: { readonly holderIdentity?: string; readonly renewTime?: string };
  }>(path);
  const holder = lease?.spec?.holderIdentity ?? '';
  const age = now - Date.parse(lease?.spec?.renewTime ?? '');
  if (holder !== '' && age < leaderWithinMs) return { name, level: 'ok', message: `${holder} leads` };
  return {
    name,
    level: 'fail',
    message:
      lease === undefined
        ? `no operator has ever led in namespace ${namespace}`
        : holder === ''
          ? 'the last leader resigned and nobody has taken over'
          : `${holder} has not renewed its Lease for ${formatAge(age)}`,
    cure: `check that the operator's Pods run: kubectl -n ${namespace} get pods; give another namespace with -n`,
  };
}

function checkStalled(object: PeerDiscovery): Check {
  const condition = conditionOf(object, 'Stalled');
  if (condition?.status !== 'True') return { name: 'spec', level: 'ok', message: 'accepted by the operator' };
  return {
    ...{ name: 'spec', level: 'fail', message: `${condition.reason}: ${condition.message}` },
    cure: 'change what the message names; "kubectl explain peerdiscovery.spec" describes each field',
  };
}

async function checkAccess(
  component: 'operator' | 'proxy',
  account: Account,
  cluster: Cluster,
  namespaces: Parameters<typeof requiredAccess>[1],
): Promise<Check> {
  const name = `RBAC of the ${component}`;
  const questions = requiredAccess(component, namespaces, account.name);
  try {
    const answers = await Promise.all(questions.map((question) => cluster.may(question)));
    const missing = questions.filter((_, at) => answers[at] !== true).map(formatAccess);
    if (missing.length === 0)
      return { name, level: 'ok', message: `${questions.length} permissions of ${account.name}` };
    return {
      ...{ name, level: 'fail', message: `${account.name} may not: ${missing.join('; ')}` },
      cure: account.found
        ? 'install it again with the same tool (Helm or kustomize), which creates its roles'
        : 'install it again with the same tool (Helm or kustomize), which creates its roles; no Pod of it ' +
          'was found here: if it runs in another namespace, give that with -n',
    };
  } catch (error) {
    if (!isRefused(error)) throw error;
    return {
      ...{ name, level: 'skip', message: error.message },
      cure: 'ask for the right to create subjectaccessreviews.authorization.k8s.io',
    };
  }
}
