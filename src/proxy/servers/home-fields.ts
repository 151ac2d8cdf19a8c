import { headerValue, type RawHeaders } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import { passThrough } from '../identity/request-identity.ts';
import type { PeerTarget, PeerTransport } from '../ports.ts';
import type { ClientConnection, Exchange, HomeFields } from '../request/exchange.ts';
import { fetchWhole } from './fetch-whole.ts';

interface OriginAnswer {
  readonly fields: RawHeaders;
  readonly until: number;
}

const knownForMs = 10_000;
const maxKnown = 1_000;
/** Maximum number of questions about origins at once, so that made-up origins do not flood home. */
const maxAsking = 16;
const transportSecurity = 'strict-transport-security';
const allowOrigin = 'access-control-allow-origin';

/** Starts empty, and learns from the servers' answers. */
export function createHomeFields({
  transport,
  clock,
  homeOf,
}: {
  readonly transport: Pick<PeerTransport, 'dispatch'>;
  readonly clock: Clock;
  /** The server to ask for this connection. */
  readonly homeOf: (connection: ClientConnection) => PeerTarget | undefined;
}): HomeFields {
  /** HSTS fields by address; empty if the server sends none. */
  const security = new Map<string, RawHeaders>();
  /** CORS fields by address and origin. */
  const origins = new Map<string, OriginAnswer>();
  const asking = new Map<string, Promise<void>>();

  async function ask(key: string, home: PeerTarget, origin: string, { connection }: Exchange): Promise<void> {
    // The server looks at the origin before the user, so this needs no credential.
    const anonymous = { rawHeaders: ['Host', home.address], identity: passThrough, connection };
    const answer = await fetchWhole({ transport, clock }, home, anonymous, {
      method: 'OPTIONS',
      path: '/',
      headers: ['Origin', origin],
      maxBytes: 64 * 1024,
      withinMs: 1_000,
    });
    if (answer.kind === 'answer') note(home.address, answer.headers);
    // The last known fields are better than nothing.
    const fields = answer.kind === 'answer' ? accessControl(answer.headers) : (origins.get(key)?.fields ?? []);
    if (origins.size >= maxKnown) origins.clear();
    origins.set(key, { fields, until: clock.now() + knownForMs });
  }

  function note(address: string, rawHeaders: RawHeaders): void {
    const value = headerValue(rawHeaders, transportSecurity);
    security.set(address, value === undefined ? [] : ['Strict-Transport-Security', value]);
  }

  return {
    note,
    known: (exchange) => {
      const home = homeOf(exchange.connection);
      if (home === undefined) return [];
      const fields = security.get(home.address) ?? [];
      const origin = headerValue(exchange.rawHeaders, 'origin');
      return origin === undefined ? fields : [...(origins.get(`${home.address} ${origin}`)?.fields ?? []), ...fields];
    },
    learn: (exchange) => {
      const origin = headerValue(exchange.rawHeaders, 'origin');
      if (origin === undefined || origin === '') return undefined;
      const home = homeOf(exchange.connection);
      if (home === undefined) return undefined;
      const key = `${home.address} ${origin}`;
      const until = origins.get(key)?.until;
      if (until !== undefined && until > clock.now()) return undefined;
      const running = asking.get(key);
      if (running !== undefined) return running;
      if (asking.size >= maxAsking) return undefined;
      const answered = ask(key, home, origin, exchange).finally(() => asking.delete(key));
      asking.set(key, answered);
      return answered;
    },
    allowsOrigin: (exchange) => {
      const home = homeOf(exchange.connection);
      const origin = headerValue(exchange.rawHeaders, 'origin');
      if (home === undefined || origin === undefined) return false;
      const fields = origins.get(`${home.address} ${origin}`)?.fields;
      return fields !== undefined && headerValue(fields, allowOrigin) !== undefined;
    },
  };
}

function accessControl(rawHeaders: RawHeaders): string[] {
  const fields: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase().startsWith('access-control-') === true)
      fields.push(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '');
  return fields;
}
