import type { ConnectAs } from '../ports.ts';

/** The identity of a request, as far as this proxy knows, and how to pass it on to kube-apiserver. */
export interface RequestIdentity {
  /** For logs; never a credential. */
  readonly who: string;
  /** The only kind of connection on which the request may be sent. */
  readonly connectAs: ConnectAs;
  /** Fields that state the identity. They are added after every such field of the client was removed. */
  readonly stamp: readonly string[];
  /** True if the client's bearer token must not be sent, because another credential replaces it. */
  readonly replacesToken: boolean;
  /** True if an authenticated proxy has already chosen this hop: the request must not be routed again. */
  readonly alreadyRouted: boolean;
  /** Further fields, by lower-case name, that would forge the stamp; undefined if there are only the usual ones. */
  readonly forged: ((lower: string) => boolean) | undefined;
}

/** The client's own headers speak for it, with or without a token. */
export const passThrough: Readonly<RequestIdentity> = {
  who: '',
  connectAs: 'anonymous',
  stamp: [],
  replacesToken: false,
  alreadyRouted: false,
  forged: undefined,
};
