import type { AnswerHandler } from '../../src/http/client/dispatch.ts';
import { headerList } from '../../src/http/fields.ts';
import type { PeerRequest, PeerTarget, PeerTransport } from '../../src/proxy/ports.ts';
import type { Exchange } from '../../src/proxy/request/exchange.ts';
import type { FleetPeer } from '../../src/proxy/servers/fleet.ts';

/** What a server of {@link createDocumentServers} gives. */
export interface GivenDocument {
  readonly etag?: string;
  readonly body: Uint8Array;
  /** Never says that it is over. */
  readonly endless?: boolean;
}

/** Servers in memory that give documents in pieces, a turn each, as a socket does. */
export interface DocumentServers {
  readonly transport: Pick<PeerTransport, 'dispatch'>;
  readonly sources: readonly FleetPeer[];
  /** By name; may be changed. */
  readonly documents: Map<string, GivenDocument>;
  /** Names in the order in which they were asked, with the status that they gave. */
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

/** A request of somebody. */
export const anybody = {
  rawHeaders: ['Host', 'a'],
  identity: { connectAs: 'anonymous', replacesToken: false, who: '', stamp: [] },
  connection: { remoteAddress: '10.0.0.9' },
} as unknown as Exchange;
