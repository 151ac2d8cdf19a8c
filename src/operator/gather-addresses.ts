import type { AddressFacts, HostAddress } from '../domain/resolve-peers.ts';

/** The fields of a Pod that prove where a kube-apiserver is. */
export interface PodObject {
  readonly metadata?: {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly {
      readonly kind?: string;
      readonly name?: string;
      readonly controller?: boolean;
    }[];
  };
  readonly spec?: { readonly nodeName?: string };
}

/** The fields of a Node that tell where a kube-apiserver may be. */
export interface NodeObject {
  readonly metadata?: { readonly name?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly status?: { readonly addresses?: readonly { readonly type?: string; readonly address?: string }[] };
}

/** The fields of an EndpointSlice that list kube-apiservers. */
export interface EndpointSliceObject {
  readonly endpoints?: readonly { readonly addresses?: readonly string[] }[] | null;
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null;
}

/** Written by kubeadm; see kubeadm's `constants.KubeAPIServerAdvertiseAddressEndpointAnnotationKey`. */
const kubeadmEndpoint = 'kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint';
/** Written by a kubelet on the mirror of a static pod; see `pkg/kubelet/types` of Kubernetes. */
const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** Reads every address that objects of the cluster give; what does not prove itself is left out. */
export function gatherAddresses(
  pods: Iterable<PodObject>,
  nodes: Iterable<NodeObject>,
  endpointSlices: Iterable<EndpointSliceObject>,
  nodePort: number,
): Pick<AddressFacts, 'mirrorPods' | 'nodes' | 'endpoints'> {
  return {
    mirrorPods: [...pods].flatMap(mirrorPodAddress),
    nodes: [...nodes].flatMap((node) => nodeAddresses(node, nodePort)),
    endpoints: [...endpointSlices].flatMap(endpointAddresses),
  };
}

/** A labelled ordinary pod is no proof: only a kubelet, limited to its own node, can write a pod that its Node owns. */
function mirrorPodAddress({ metadata, spec }: PodObject): HostAddress[] {
  const address = metadata?.annotations?.[kubeadmEndpoint];
  const hostname = spec?.nodeName;
  const owned = metadata?.ownerReferences?.some(({ kind, name }) => kind === 'Node' && name === hostname);
  const mirrored = metadata?.annotations?.[mirrorAnnotation] !== undefined;
  return address !== undefined && hostname !== undefined && owned === true && mirrored ? [{ hostname, address }] : [];
}

function nodeAddresses({ metadata, status }: NodeObject, port: number): HostAddress[] {
  const ip = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  if (ip === undefined) return [];
  const hostnames = new Set([metadata?.labels?.['kubernetes.io/hostname'], metadata?.name]);
  return [...hostnames].flatMap((hostname) =>
    hostname === undefined ? [] : [{ hostname, address: joinHostPort(ip, port) }],
  );
}

function endpointAddresses({ endpoints, ports }: EndpointSliceObject): string[] {
  const port = ports?.find(({ name }) => name === 'https')?.port ?? ports?.[0]?.port;
  if (port === undefined) return [];
  return (endpoints ?? []).flatMap(({ addresses }) => (addresses ?? []).map((ip) => joinHostPort(ip, port)));
}

function joinHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
