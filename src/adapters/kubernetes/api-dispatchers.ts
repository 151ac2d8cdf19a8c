import type { AgentOptions, RequestOptions } from 'node:https';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, buildConnector, DecoratorHandler, type Dispatcher, ProxyAgent } from 'undici';
import { parseAddress } from '../../domain/address.ts';
import { type AnchorOptions, anchorSets, tryEach } from '../../runtime/trust-anchors.ts';
import { openVerifiedConnection } from '../peers/verified-connection.ts';
import type { ApiWay } from './api-ways.ts';

/** The result of client-node for a request: TLS options and headers. */
export type ResolvedOptions = AgentOptions & Pick<RequestOptions, 'headers' | 'auth'>;

// kube-apiserver closes idle HTTP/1.1 connections after 90 s. This client closes them earlier, so that no request meets
// a closing socket.
const keepAliveMs = 60_000;

/** Connects as the kubeconfig says: directly, or through its proxy. */
export async function createDispatcher(
  kubeConfig: KubeConfig,
  resolved: ResolvedOptions,
  timeoutMs: number,
): Promise<Dispatcher> {
  const planned = kubeConfig.createDispatcherOptions(kubeConfig.getCurrentCluster(), resolved);
  const common = {
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    connectTimeout: timeoutMs,
  };
  const encrypted = kubeConfig.getCurrentCluster()?.server.startsWith('https:') === true;
  const sets = encrypted && resolved.ca !== undefined ? anchorSets(String(resolved.ca)) : undefined;
  const connect = { keepAlive: true, keepAliveInitialDelay: 30_000, allowH2: false };
  switch (planned.type) {
    case 'proxy':
      return new ProxyAgent({
        ...common,
        uri: planned.uri,
        // `allowH2` is an option of undici's connector that its type for `requestTls` leaves out.
        requestTls: { ...planned.requestTls, ...sets?.[0], allowH2: false } as buildConnector.BuildOptions,
        connect,
      });
    case 'socks':
      return await dispatcherOfClientNode(kubeConfig);
    case 'agent':
      return new Agent({
        ...common,
        connect: connectBy(sets, { ...connect, ...planned.connect, timeout: timeoutMs } as buildConnector.BuildOptions),
      });
    case 'none':
      return new Agent({ ...common, connect });
  }
}

/**
 * Connects with the anchors of the kubeconfig's CA; without a CA, Node's own are trusted, as kubectl trusts the
 * system's.
 */
function connectBy(
  sets: ReturnType<typeof anchorSets> | undefined,
  options: buildConnector.BuildOptions,
): buildConnector.connector {
  if (sets === undefined) return buildConnector(options);
  const [first, ...others] = sets;
  const make = (anchors: AnchorOptions) => buildConnector({ ...options, ...anchors } as buildConnector.BuildOptions);
  const connectors = tryEach([make(first), ...others.map(make)]);
  return (target, callback) => {
    const open = (connect: buildConnector.connector) =>
      new Promise<Parameters<buildConnector.Callback>[1] & object>((resolve, reject) => {
        // On failure undici passes the error alone.
        connect(target, (...[error, socket]) => (error === null && socket ? resolve(socket) : reject(error)));
      });
    connectors(`${target.hostname}:${target.port}`, open).then(
      (socket) => callback(null, socket),
      (error: Error) => callback(error, null),
    );
  };
}

/**
 * Connects to a learned server. Its certificate is verified before the first byte of a request, and before a client
 * certificate is shown.
 */
export function createVerifiedDispatcher(
  way: ApiWay,
  { ca, cert, key, passphrase }: ResolvedOptions,
  timeoutMs: number,
): Dispatcher {
  const { host, port } = parseAddress(way.address ?? '') ?? { host: '', port: 0 };
  const [first, ...rest] = anchorSets(String(ca));
  const by = (identity: SecureContextOptions) => {
    const make = (anchors: AnchorOptions) => createSecureContext({ ...anchors, ...identity });
    return tryEach([make(first), ...rest.map(make)]);
  };
  const anonymous = by({});
  const identified = key === undefined ? undefined : by({ cert, key: key as string, passphrase });
  const { serverName = '' } = way;
  return new Agent({
    // Without it, undici lets requests wait for the first connection's protocol.
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    connect: (_options, done) => {
      openVerifiedConnection({ host, port, serverName, anonymous, identified, timeoutMs }).then(
        (socket) => done(null, socket),
        (error: Error) => done(error, null),
      );
    },
  });
}

/** SOCKS needs client-node's own connector, which is available only inside a dispatcher. */
async function dispatcherOfClientNode(kubeConfig: KubeConfig): Promise<Dispatcher> {
  let made: Dispatcher | undefined;
  const context = {
    setHeaderParam() {},
    setDispatcher(dispatcher: Dispatcher) {
      made = dispatcher;
    },
  };
  await kubeConfig.applySecurityAuthentication(
    context as unknown as Parameters<KubeConfig['applySecurityAuthentication']>[0],
  );
  if (!made) throw new Error('the SOCKS proxy of the kubeconfig cannot be used');
  return made;
}

/** A request that may have lost its right to be sent before a connection was there. */
export interface FencedOptions extends Dispatcher.RequestOptions {
  readonly beforeSending: (() => void) | undefined;
}

/**
 * Lets a request begin only if its `beforeSending` does not throw at that moment, however long it waited for a
 * connection.
 */
export const fenced: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
  const { beforeSending } = options as Partial<FencedOptions>;
  return dispatch(options, beforeSending === undefined ? handler : new CheckingHandler(handler, beforeSending));
};

class CheckingHandler extends DecoratorHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #check: () => void;

  constructor(handler: Dispatcher.DispatchHandler, check: () => void) {
    super(handler);
    this.#handler = handler;
    this.#check = check;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#check();
    this.#handler.onRequestStart?.(controller, context);
  }
}
