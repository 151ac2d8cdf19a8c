/** The fields of a `coordination.k8s.io/v1` Lease that identity needs. Any of them may be absent or of a wrong type. */
export interface LeaseObject {
  readonly metadata?: {
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly holderIdentity?: unknown; readonly renewTime?: unknown };
}

/** The facts in a valid identity Lease about one running server. */
export interface IdentityLease {
  /** Name of the Lease; it is the peer's id. */
  readonly name: string;
  readonly hostname?: string;
  /** Changes at every start of the server process. */
  readonly holderIdentity: string;
  /** The server's own time. The code only looks for changes of it and never compares it with another clock. */
  readonly renewTime: string;
  /** `ip:port` from the Lease's annotation, which servers write since 1.36. */
  readonly annotatedAddress?: string;
}

/** A Lease that identifies no peer, and the reason. */
export interface LeaseProblem {
  readonly lease: string;
  readonly reason: 'NoHolder' | 'NoRenewTime' | 'Foreign' | 'DuplicateAddress';
  readonly message: string;
}

/** Every live server renews its Lease every 10 s, so a watch that is silent for three renewals has died unnoticed. */
export const leasesSilentMs = 30_000;

/** Source: `pkg/controlplane/apiserver/server.go` of Kubernetes. */
const hostnameLabel = 'kubernetes.io/hostname';
const advertiseAddressAnnotation = 'kubernetes.io/peer-advertise-address';

/**
 * Returns which peer a Lease stands for, or why it stands for none. It never throws.
 *
 * @param nameFor Returns the Lease name that Kubernetes derives from a hostname. A Lease with another name was not
 *   written by a kube-apiserver and is reported as foreign. Omitted for servers other than kube-apiserver.
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
        `has no label ${hostnameLabel}, which kube-apiserver writes, so the operator ignores this Lease`,
      );
    if (nameFor(hostname) !== name)
      return problem(
        name,
        'Foreign',
        `kube-apiserver on ${hostname} names its Lease ${nameFor(hostname)}, so the operator ignores this one`,
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
