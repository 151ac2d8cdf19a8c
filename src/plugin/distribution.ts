import { documentationUrl } from '../domain/documentation-url.ts';
import type { Check } from './checks.ts';
import { type Cluster, PluginError } from './ports.ts';

/** The facts of a Node that show its distribution. */
export interface NodeFacts {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly providerID?: string };
  readonly status?: { readonly nodeInfo?: { readonly osImage?: string; readonly kubeletVersion?: string } };
}

/** The facts of the API that show its distribution. Empty if they could not be read. */
export interface ClusterFacts {
  readonly gitVersion: string;
  readonly groups: readonly string[];
  readonly nodes: readonly NodeFacts[];
}

/** A distribution, and the sign by which it was recognised. */
export interface Recognized {
  readonly name: string;
  readonly sign: string;
  /** The settings for it; absent if the manifests need no change. */
  readonly advice?: string;
}

interface Distribution {
  readonly name: string;
  /** The sign by which it was recognised, or undefined. */
  readonly sign: (facts: ClusterFacts) => string | undefined;
  readonly advice?: string;
}

const inVersion =
  (pattern: RegExp) =>
  ({ gitVersion }: ClusterFacts): string | undefined =>
    pattern.test(gitVersion) ? `version ${gitVersion}` : undefined;

const onNodes =
  (look: (node: NodeFacts) => string | undefined) =>
  ({ nodes }: ClusterFacts): string | undefined =>
    nodes.map(look).find((sign) => sign !== undefined);

const withLabel = (pattern: RegExp) =>
  onNodes(({ metadata }) => {
    const label = Object.keys(metadata?.labels ?? {}).find((name) => pattern.test(name));
    return label === undefined ? undefined : `Nodes have the label ${label}`;
  });

const withAnnotation = (pattern: RegExp) =>
  onNodes(({ metadata }) => {
    const annotation = Object.keys(metadata?.annotations ?? {}).find((name) => pattern.test(name));
    return annotation === undefined ? undefined : `Nodes have the annotation ${annotation}`;
  });

const withGroup =
  (pattern: RegExp) =>
  ({ groups }: ClusterFacts): string | undefined => {
    const group = groups.find((name) => pattern.test(name));
    return group === undefined ? undefined : `it serves ${group}`;
  };

const withImage = (pattern: RegExp) =>
  onNodes(({ status }) => {
    const image = status?.nodeInfo?.osImage ?? '';
    return pattern.test(image) ? `Nodes run ${image}` : undefined;
  });

const withProvider = (pattern: RegExp) =>
  onNodes(({ spec }) => (pattern.test(spec?.providerID ?? '') ? `Nodes are ${spec?.providerID}` : undefined));

const anyOf =
  (...signs: readonly Distribution['sign'][]): Distribution['sign'] =>
  (facts) => {
    for (const sign of signs) {
      const found = sign(facts);
      if (found !== undefined) return found;
    }
    return undefined;
  };

const clientFrom = (folder: string, name: string) =>
  `for the overlay control-plane, make the Secret peerdiscovery-front-proxy-client from ` +
  `${folder}/${name}.crt and ${name}.key`;
/** They label control-plane Nodes with `true`; kubeadm uses the empty string. */
const rancher = (folder: string) =>
  `${clientFrom(folder, 'client-auth-proxy')}, and set node-role.kubernetes.io/control-plane: "true" as the ` +
  `nodeSelector of its DaemonSet`;
const managed =
  'keep spec.mode: Observe, because the provider runs the control plane and shows no single server; the ' +
  'guide says what you can see';

/** The first match wins, so distributions based on kubeadm come before kubeadm. */
const distributions: readonly Distribution[] = [
  { name: 'EKS', sign: anyOf(inVersion(/-eks-/), withLabel(/^eks\.amazonaws\.com\//)), advice: managed },
  { name: 'GKE', sign: anyOf(inVersion(/-gke\./), withLabel(/^cloud\.google\.com\/gke-/)), advice: managed },
  { name: 'AKS', sign: withLabel(/^kubernetes\.azure\.com\//), advice: managed },
  { name: 'DigitalOcean Kubernetes', sign: withLabel(/^doks\.digitalocean\.com\//), advice: managed },
  {
    name: 'OpenShift',
    sign: withGroup(/(^|\.)config\.openshift\.io$/),
    advice:
      'for the overlay control-plane, allow the ServiceAccount peerdiscovery-front-proxy the host network (oc adm policy add-scc-to-user hostnetwork-v2) and copy the Secret aggregator-client of openshift-kube-apiserver',
  },
  {
    name: 'RKE2',
    sign: inVersion(/\+rke2/),
    advice: rancher('/var/lib/rancher/rke2/server/tls'),
  },
  { name: 'k3s', sign: inVersion(/\+k3s/), advice: rancher('/var/lib/rancher/k3s/server/tls') },
  {
    name: 'k0s',
    sign: inVersion(/\+k0s/),
    advice: 'install the overlay routing; if the controllers are not Nodes, list every server in spec.addresses.static',
  },
  {
    name: 'Talos',
    sign: withImage(/^Talos\b/),
    advice:
      'for the overlay control-plane, sign a client certificate with cluster.aggregatorCA of the machine ' +
      'configuration; point clients at the proxy instead of KubePrism (localhost:7445)',
  },
  {
    name: 'MicroK8s',
    sign: withLabel(/^microk8s\.io\/cluster$/),
    advice: 'set port 16443 in spec.addresses.static for each server, and install the overlay routing',
  },
  {
    name: 'kOps',
    sign: withLabel(/^kops\.k8s\.io\//),
    advice: clientFrom('/srv/kubernetes/kube-apiserver', 'apiserver-aggregator'),
  },
  { name: 'kind', sign: withProvider(/^kind:/) },
  { name: 'minikube', sign: withLabel(/^minikube\.k8s\.io\//) },
  {
    name: 'Cluster API',
    sign: withAnnotation(/^cluster\.x-k8s\.io\//),
    advice:
      'set spec.goneAfter below the time that it takes to replace a machine, and let the operator issue ' +
      'certificates for control-plane-nodes: the addresses change with each rollout',
  },
  { name: 'kubeadm', sign: withAnnotation(/^kubeadm\.alpha\.kubernetes\.io\//) },
];

/** Recognises the distribution from the facts; pure. */
export function recognizeDistribution(facts: ClusterFacts): Recognized | undefined {
  for (const { name, sign, advice } of distributions) {
    const found = sign(facts);
    if (found !== undefined) return { name, sign: found, ...(advice === undefined ? {} : { advice }) };
  }
  return undefined;
}

/** Reports the distribution, as far as this user may see it, and its settings. It never fails. */
export async function checkDistribution(cluster: Cluster): Promise<Check> {
  const [version, groups, nodes] = await Promise.all([
    unlessRefused(() => cluster.get<{ readonly gitVersion?: string }>('/version')),
    unlessRefused(() => cluster.get<{ readonly groups?: readonly { readonly name: string }[] }>('/apis')),
    unlessRefused(() => cluster.list<NodeFacts>('/api/v1/nodes')),
  ]);
  const found = recognizeDistribution({
    gitVersion: version?.gitVersion ?? '',
    groups: (groups?.groups ?? []).map(({ name }) => name),
    nodes: nodes ?? [],
  });
  const name = 'distribution';
  const guide = documentationUrl('guides/distributions.md');
  if (found === undefined)
    return { name, level: 'ok', message: `its version, Nodes and API groups fit none of those in ${guide}` };
  const message = `${found.name}: ${found.sign}`;
  if (found.advice === undefined) return { name, level: 'ok', message };
  return { name, level: 'ok', message, cure: `${found.advice} (${guide})` };
}

async function unlessRefused<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof PluginError && error.refused) return undefined;
    throw error;
  }
}
