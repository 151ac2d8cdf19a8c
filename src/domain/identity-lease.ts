/** The fields of a `coordination.k8s.io/v1` Lease that identity needs; anything may be missing or of a wrong type. */
export interface LeaseObject {
  readonly metadata?: {
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly holderIdentity?: unknown; readonly renewTime?: unknown };
}

/** What a well-formed identity Lease says of one running server. */
export interface IdentityLease {
  /** Name of the Lease, which is the peer's id. */
  readonly name: string;
  readonly hostname?: string;
  /** New at every start of the server's process. */
  readonly holderIdentity: string;
  /** As written by the server; only its changes are used, never its distance from our own clock. */
  readonly renewTime: string;
  /** `ip:port` from the Lease's annotation, which servers write from 1.36 on. */
  readonly annotatedAddress?: string;
}

/** A Lease that identifies no peer, and why. */
export interface LeaseProblem {
  readonly lease: string;
  readonly reason: 'NoHolder' | 'NoRenewTime' | 'Foreign' | 'DuplicateAddress';
  readonly message: string;
}

/** Source: `pkg/controlplane/apiserver/server.go` of Kubernetes. */
const hostnameLabel = 'kubernetes.io/hostname';
const advertiseAddressAnnotation = 'kubernetes.io/peer-advertise-address';

/**
 * Tells which peer a Lease stands for, or why it stands for none; it never throws.
 *
 * @param nameFor The Lease name that Kubernetes derives from a hostname; a Lease with another name was not written by a
 *   kube-apiserver and is reported as foreign. Left out for servers that are not kube-apiservers.
 */
export function readIdentityLease(
  lease: LeaseObject,
  nameFor?: (hostname: string) => string,
): { readonly peer: IdentityLease } | { readonly problem: LeaseProblem } {
  const name = lease.metadata?.name ?? '';
  const hostname = lease.metadata?.labels?.[hostnameLabel];
  if (nameFor !== undefined) {
    if (hostname === undefined)
      return problem(
        name,
        'Foreign',
        `has no label ${hostnameLabel}; kube-apiserver writes one, so this Lease is ignored`,
      );
    if (nameFor(hostname) !== name)
      return problem(
        name,
        'Foreign',
        `kube-apiserver on ${hostname} names its Lease ${nameFor(hostname)}; this one is ignored`,
      );
  }
  const holderIdentity = lease.spec?.holderIdentity;
  if (typeof holderIdentity !== 'string' || holderIdentity === '')
    return problem(name, 'NoHolder', 'spec.holderIdentity is empty, so no server holds it');
  const renewTime = lease.spec?.renewTime;
  if (renewTime === undefined || renewTime === null) return problem(name, 'NoRenewTime', 'spec.renewTime is empty');
  const annotatedAddress = lease.metadata?.annotations?.[advertiseAddressAnnotation];
  return {
    peer: {
      name,
      holderIdentity,
      renewTime: String(renewTime),
      ...(hostname !== undefined && { hostname }),
      ...(annotatedAddress !== undefined && { annotatedAddress }),
    },
  };
}

function problem(lease: string, reason: LeaseProblem['reason'], message: string) {
  return { problem: { lease, reason, message } };
}
