import type { SecureContext } from 'node:tls';
import { createSecureContext } from 'node:tls';
import type { ConnectAs } from '../../proxy/ports.ts';
import { anchorSets, type TryEach, tryEach } from '../../runtime/trust-anchors.ts';

/** The authorities that verify kube-apiservers, and the front-proxy certificate; all PEM. */
export interface PeerTlsFiles {
  readonly ca: string;
  readonly frontProxy: { readonly cert: string; readonly key: string } | undefined;
}

/** What one new connection is made with. */
export interface PeerTlsMaterial {
  /** Connections of different generations must not be mixed: another CA or another certificate was behind them. */
  readonly generation: number;
  /** Verifies the server, and presents no certificate. */
  readonly anonymous: TryEach<SecureContext>;
  /** Verifies the server and presents the front-proxy certificate; only for a server that `anonymous` has verified. */
  readonly identified: TryEach<SecureContext> | undefined;
  /** TLS sessions to resume, by whatever key; one that stood for another identity or CA is never among them. */
  readonly sessions: Map<string, Buffer>;
}

/** The TLS side of every connection to a kube-apiserver, replaced whole when files change. */
export interface PeerTls {
  /** Undefined where the front-proxy certificate is asked for and none is configured. */
  material(connectAs: ConnectAs): PeerTlsMaterial | undefined;
  /** Throws, and changes nothing, if the files are unusable. Open connections are left alone. */
  replace(files: PeerTlsFiles): void;
}

/** Makes contexts such that nothing of the front-proxy certificate is in those of anonymous connections. */
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
