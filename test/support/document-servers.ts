import type { AnswerHandler } from '../../src/http/client/dispatch.ts';
import { headerList } from '../../src/http/fields.ts';
import type { PeerRequest, PeerTarget, PeerTransport } from '../../src/proxy/ports.ts';
import type { Exchange } from '../../src/proxy/request/exchange.ts';
import type { FleetPeer } from '../../src/proxy/servers/fleet.ts';

/** The answer of a server from {@link createDocumentServers}. */
export interface GivenDocument {
  readonly etag?: string;
  readonly body: Uint8Array;
  /** Never ends. */
  readonly endless?: boolean;
}

/** Servers in memory that send documents in pieces, one per turn, as a socket does. */
export interface DocumentServers {
  readonly transport: Pick<PeerTransport, 'dispatch'>;
  readonly sources: readonly FleetPeer[];
  /** Documents by server name. Tests may change them. */
  readonly documents: Map<string, GivenDocument>;
  /** The names of the asked servers in order, with their status. */
  readonly asked: string[];
}

const pieceBytes = 16 * 1024;

/** Starts with these documents. */
export function createDocumentServers(given: Readonly<Record<string, GivenDocument>>): DocumentServers {
  const documents = new Map(Object.entries(given));
  const asked: string[] = [];
  const dispatch = ({ id }: PeerTarget, { rawHeaders }: PeerRequest, handler: AnswerHandler) => {
    const document = documents.get(id);
    let aborted = false;
    const send = async () => {
      if (document === undefined) return;
      const { etag, body, endless } = document;
      const match = headerList(rawHeaders, 'if-none-match')?.split(', ') ?? [];
      const status = etag !== undefined && match.includes(etag) ? 304 : 200;
      asked.push(`${id} ${status}`);
      handler.onHead(status, etag === undefined ? [] : ['Etag', etag]);
      for (let at = 0; status === 200 && at < body.length && !aborted; at += pieceBytes) {
        handler.onData(Buffer.from(body.subarray(at, at + pieceBytes)), false);
        await new Promise(setImmediate);
      }
      if (!aborted && endless !== true) handler.onEnd([]);
    };
    void send();
    return {
      pause: () => {},
      resume: () => {},
      abort: () => {
        aborted = true;
      },
    };
  };
  const sources = [...documents.keys()].map((id): FleetPeer => {
    const target = { id, address: `${id}:6443`, serverName: 'kubernetes.default.svc', pinned: false };
    return { target, state: 'Ready', load: undefined } as unknown as FleetPeer;
  });
  return { transport: { dispatch }, sources, documents, asked };
}

/** A user's request. */
export const anybody = {
  rawHeaders: ['Host', 'a'],
  identity: { connectAs: 'anonymous', replacesToken: false, who: '', stamp: [] },
  connection: { remoteAddress: '10.0.0.9' },
} as unknown as Exchange;
