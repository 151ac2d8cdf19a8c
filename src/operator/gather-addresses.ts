import { formatAddress, parseAddress } from '../domain/address.ts';
import type { AddressObjectName } from '../domain/address-watches.ts';
import type { AddressFacts, HostAddress } from '../domain/resolve-peers.ts';

/** The fields of a Pod that prove a kube-apiserver's address. */
export interface PodObject {
  readonly metadata?: {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly {
      readonly kind?: string;
      readonly name?: string;
      readonly controller?: boolean;
    }[];
  };
  readonly spec?: {
    readonly nodeName?: string;
    readonly containers?: readonly { readonly command?: readonly string[]; readonly args?: readonly string[] }[];
  };
  readonly status?: { readonly hostIP?: string };
}

/** The fields of a Node that may give a kube-apiserver's address. */
export interface NodeObject {
  readonly metadata?: { readonly name?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly status?: { readonly addresses?: readonly { readonly type?: string; readonly address?: string }[] };
}

/** The fields of an EndpointSlice that list kube-apiservers. */
export interface EndpointSliceObject {
  readonly endpoints?: readonly { readonly addresses?: readonly string[] }[] | null;
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null;
}

/** The objects that contain addresses; `addressWatches` says which are watched. */
export interface AddressObjects {
  readonly pods: PodObject;
  readonly nodes: NodeObject;
  readonly endpointSlices: EndpointSliceObject;
}

/** The listed objects of each kind. */
type ListedObjects = {
  readonly [Name in AddressObjectName]: { items(): ReadonlyMap<string, AddressObjects[Name]> };
};

/** Written by kubeadm; see kubeadm's `constants.KubeAPIServerAdvertiseAddressEndpointAnnotationKey`. */
const kubeadmEndpoint = 'kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint';
/** A kubelet writes it on the mirror of a static pod; see `pkg/kubelet/types` of Kubernetes. */
const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** Reads every address from objects of the cluster, except unproven ones. */
export function gatherAddresses(
  listed: ListedObjects,
  nodePort: number,
): Omit<AddressFacts, 'leases' | 'staticEntries'> {
  const pods = [...listed.pods.items().values()];
  const nodes = [...listed.nodes.items().values()];
  const endpointSlices = [...listed.endpointSlices.items().values()];
  const endpoints = endpointSlices.flatMap(endpointAddresses);
  // A Node has no port; the control plane's own endpoint on that host does, if it lists one.
  const portOf = new Map(endpoints.map((address) => [parseAddress(address)?.host, parseAddress(address)?.port]));
  return {
    mirrorPods: pods.flatMap((pod) => mirrorPodAddress(pod, nodePort)),
    nodes: nodes.flatMap((node) => nodeAddresses(node, (ip) => portOf.get(ip) ?? nodePort)),
    endpoints,
  };
}

/**
 * A label on an ordinary pod proves nothing: only a kubelet, limited to its own node, can write a pod that its Node
 * owns.
 */
function mirrorPodAddress({ metadata, spec, status }: PodObject, port: number): HostAddress[] {
  // kubeadm uses an annotation. Other static pods have flags or their host's address.
  const ip = flagOf(spec, 'advertise-address') ?? status?.hostIP;
  const byFlags = ip && formatAddress({ host: ip, port: Number(flagOf(spec, 'secure-port') ?? port) });
  const address = metadata?.annotations?.[kubeadmEndpoint] ?? byFlags;
  const hostname = spec?.nodeName;
  const owned = metadata?.ownerReferences?.some(({ kind, name }) => kind === 'Node' && name === hostname);
  const mirrored = metadata?.annotations?.[mirrorAnnotation] !== undefined;
  return address !== undefined && hostname !== undefined && owned === true && mirrored ? [{ hostname, address }] : [];
}

function flagOf(spec: PodObject['spec'], name: string): string | undefined {
  for (const { command = [], args = [] } of spec?.containers ?? [])
    for (const word of [...command, ...args]) if (word.startsWith(`--${name}=`)) return word.slice(name.length + 3);
  return undefined;
}

function nodeAddresses({ metadata, status }: NodeObject, portOf: (ip: string) => number): HostAddress[] {
  // A Node may be in several networks, and its kube-apiserver in any of them.
  const ips = (status?.addresses ?? []).flatMap(({ type, address }) =>
    type === 'InternalIP' && address ? [address] : [],
  );
  const hostnames = new Set([metadata?.labels?.['kubernetes.io/hostname'], metadata?.name]);
  return [...hostnames].flatMap((hostname) =>
    hostname === undefined
      ? []
      : ips.map((ip) => ({ hostname, address: formatAddress({ host: ip, port: portOf(ip) }) })),
  );
}

function endpointAddresses({ endpoints, ports }: EndpointSliceObject): string[] {
  const port = ports?.find(({ name }) => name === 'https')?.port ?? ports?.[0]?.port;
  if (port === undefined) return [];
  return (endpoints ?? []).flatMap(({ addresses }) => (addresses ?? []).map((host) => formatAddress({ host, port })));
}
