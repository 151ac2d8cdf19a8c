import type { Dispatcher } from '../../http/client/dispatch.ts';
import type { Readiness } from '../../proxy/ports.ts';

/** The way to ask one peer about its readiness, over connections for nothing else. */
export interface ReadinessLane {
  readonly dispatch: Dispatcher['dispatch'];
  /** True if the peer refuses anonymous requests but answers this proxy's own token. */
  needsToken: boolean;
}

/** How to ask. */
export interface Asking {
  readonly timeoutMs: number;
  /** This proxy's own token, if it has one. */
  readonly ownToken?: (() => Promise<string | undefined>) | undefined;
  /** Receives the header fields of each answer. */
  readonly onHead?: ((rawHeaders: readonly string[]) => void) | undefined;
}

/** The result of one request for `/readyz`; `undefined` if the connection broke. */
type Found = Readiness | undefined;

export function createReadinessLane(dispatch: Dispatcher['dispatch']): ReadinessLane {
  return { dispatch, needsToken: false };
}

/**
 * Asks a peer whether it is ready, without a credential as long as it answers anonymous requests.
 *
 * If anonymous requests are refused (`--anonymous-auth=false`), the refusal hides whether the peer's etcd answers. The
 * peer is then asked again with this proxy's own token, if there is one. The lane's connections lead only to a verified
 * server.
 */
export async function askReadiness(lane: ReadinessLane, asking: Asking): Promise<Readiness> {
  const found = lane.needsToken ? 'refused' : await askTwice(lane, asking);
  if (found !== 'refused') return found;
  const token = await readInTime(asking);
  if (token === undefined) return 'refused';
  const told = await askTwice(lane, asking, token);
  if (told !== 'refused') lane.needsToken = true;
  return told;
}

/** Undefined if there is none, or if reading it fails or takes too long. */
async function readInTime({ ownToken, timeoutMs }: Asking): Promise<string | undefined> {
  if (ownToken === undefined) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  try {
    return await Promise.race([ownToken().catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The peer may close a persistent connection just as it is used, so a second try follows. */
async function askTwice(lane: ReadinessLane, asking: Asking, token?: string): Promise<Readiness> {
  return (await askOnce(lane, asking, token)) ?? (await askOnce(lane, asking, token)) ?? 'away';
}

function askOnce(lane: ReadinessLane, { timeoutMs, onHead }: Asking, token: string | undefined): Promise<Found> {
  return new Promise((resolve) => {
    // First reads what arrived while this process was busy.
    const timer = setTimeout(() => setImmediate(giveUp), timeoutMs);
    const giveUp = () => {
      settle('hung');
      call.abort(new Error('not ready in time'));
    };
    const settle = (found: Found) => {
      clearTimeout(timer);
      resolve(found);
    };
    let status = 0;
    let text = '';
    const rawHeaders = token === undefined ? [] : ['Authorization', `Bearer ${token}`];
    const request = { method: 'GET', path: '/readyz', rawHeaders, body: null, upgrade: undefined } as const;
    const call = lane.dispatch(request, {
      onHead: (code, fields) => {
        status = code;
        onHead?.(fields);
      },
      onData: (chunk) => {
        if (text.length < maxReadinessText) text += chunk.toString('latin1');
      },
      onEnd: () => settle(readinessOf(status, text)),
      onFault: ({ kind }) => settle(kind === 'reset' ? undefined : 'away'),
      onUpgrade: (_headers, socket) => socket.destroy(),
    });
  });
}

const maxReadinessText = 64 * 1024;

/**
 * The checks `etcd` and `etcd-readiness` are kube-apiserver's own. Without etcd it finishes nothing that it has begun.
 */
function readinessOf(status: number, text: string): Readiness {
  if (status === 200) return 'ready';
  if (status === 401 || status === 403) return 'refused';
  return /^\[-\]etcd/m.test(text) ? 'hung' : 'away';
}
