import type { SecureContext } from 'node:tls';
import { createSecureContext } from 'node:tls';
import type { ConnectAs } from '../../proxy/ports.ts';
import { anchorSets, type TryEach, tryEach } from '../../runtime/trust-anchors.ts';

/** The CAs that verify kube-apiservers, and the front-proxy certificate, as PEM. */
export interface PeerTlsFiles {
  readonly ca: string;
  readonly frontProxy: { readonly cert: string; readonly key: string } | undefined;
}

/** The TLS material of one new connection. */
export interface PeerTlsMaterial {
  /** Connections of different generations must not be mixed: they had another CA or another certificate. */
  readonly generation: number;
  /** Verifies the server and presents no certificate. */
  readonly anonymous: TryEach<SecureContext>;
  /**
   * Verifies the server and presents the front-proxy certificate. Use it only for a server that `anonymous` has
   * verified.
   */
  readonly identified: TryEach<SecureContext> | undefined;
  /** TLS sessions to resume, by any key; never one of another identity or CA. */
  readonly sessions: Map<string, Buffer>;
}

/** The TLS side of every connection to a kube-apiserver, replaced as a whole when files change. */
export interface PeerTls {
  /** Undefined if the front-proxy certificate is needed and none is configured. */
  material(connectAs: ConnectAs): PeerTlsMaterial | undefined;
  /** Throws and changes nothing if the files are unusable. Open connections stay. */
  replace(files: PeerTlsFiles): void;
}

/** Creates contexts so that anonymous connections never contain anything of the front-proxy certificate. */
export function createPeerTls(files: PeerTlsFiles): PeerTls {
  let generation = 0;
  let current = load(files, generation);
  return {
    material: (connectAs) => current[connectAs],
    replace: (fresh) => {
      current = load(fresh, generation + 1);
      generation++;
    },
  };
}

function load({ ca, frontProxy }: PeerTlsFiles, generation: number): Record<ConnectAs, PeerTlsMaterial | undefined> {
  const [first, ...others] = anchorSets(ca);
  const contexts = (own: PeerTlsFiles['frontProxy']) => {
    const make = (anchors: typeof first) => createSecureContext({ ...anchors, ...own, minVersion: 'TLSv1.2' });
    return tryEach([make(first), ...others.map(make)]);
  };
  const anonymous = contexts(undefined);
  const identified = frontProxy && contexts(frontProxy);
  return {
    anonymous: { generation, anonymous, identified: undefined, sessions: new Map() },
    frontProxy: identified && { generation, anonymous, identified, sessions: new Map() },
  };
}
