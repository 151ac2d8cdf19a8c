import type { ConnectAs } from './ports.ts';

/** Whose request it is, as far as this proxy knows, and how a kube-apiserver is told. */
export interface RequestIdentity {
  /** For logs; never a credential. */
  readonly who: string;
  /** The only sort of connection that the request may be sent over. */
  readonly connectAs: ConnectAs;
  /** Fields that state the identity; added after everything of the kind was removed. */
  readonly stamp: readonly string[];
  /** True where the client's bearer token must not go along: another credential speaks for the request. */
  readonly replacesToken: boolean;
  /** True if an authenticated proxy has chosen this hop already: the request must not be routed again. */
  readonly alreadyRouted: boolean;
  /** Further fields, by lower-case name, that would forge what is stamped; undefined where the usual ones are all. */
  readonly forged: ((lower: string) => boolean) | undefined;
}

/** The client's own headers, token or none, speak for it. */
export const passThrough: RequestIdentity = {
  who: '',
  connectAs: 'anonymous',
  stamp: [],
  replacesToken: false,
  alreadyRouted: false,
  forged: undefined,
};
