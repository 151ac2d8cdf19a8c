import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';

/** One of the endpoints that a load balancer spreads connections over. */
export interface Backend {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Resolves to true if it answers its health check. */
  isHealthy(): Promise<boolean>;
}

/** A load balancer for TCP connections. */
export interface Balancer {
  readonly host: string;
  readonly port: number;
  /** The number of open connections of each backend. */
  connections(): readonly number[];
  close(): void;
}

/** The time between two health checks, and the number of failed or good ones that changes a verdict. */
const checks = { everyMs: 2_000, fall: 2, rise: 2 };

/** A backend, and what the load balancer knows about it. */
interface Target {
  readonly backend: Backend;
  readonly open: Set<Socket>;
  healthy: boolean;
  /** The number of checks in a row that contradict `healthy`. */
  against: number;
}

/**
 * Starts a load balancer as most control planes have one in front of their servers. A new connection goes to the
 * healthy backend with the fewest; if that one refuses, to the next. TLS passes through.
 */
export async function startBalancer(host: string, port: number, backends: readonly Backend[]): Promise<Balancer> {
  const targets = backends.map((backend): Target => ({ backend, open: new Set(), healthy: true, against: 0 }));
  const stop = new AbortController();
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (client) => {
    client.on('error', () => client.destroy());
    pass(client, inOrder(targets));
  });
  server.listen(port, host);
  await once(server, 'listening');
  for (const target of targets) void checkFor(target, stop.signal);
  return {
    host,
    port: (server.address() as AddressInfo).port,
    connections: () => targets.map(({ open }) => open.size),
    close: () => {
      stop.abort();
      server.close();
      for (const { open } of targets) for (const socket of open) socket.destroy();
    },
  };
}

/** The healthy targets, those with the fewest connections first. */
function inOrder(targets: readonly Target[]): readonly Target[] {
  return targets.filter(({ healthy }) => healthy).sort((a, b) => a.open.size - b.open.size);
}

/** Connects a client to the first target that accepts the connection. */
function pass(client: Socket, [target, ...others]: readonly Target[]): void {
  if (target === undefined || client.destroyed) {
    client.destroy();
    return;
  }
  const socket = connect({ host: target.backend.host, port: target.backend.port, noDelay: true });
  target.open.add(socket);
  const refuse = () => pass(client, others);
  socket.once('error', refuse);
  socket.once('close', () => target.open.delete(socket));
  client.once('close', () => socket.destroy());
  socket.once('connect', () => {
    socket.off('error', refuse).on('error', () => client.destroy());
    socket.once('close', () => client.destroy());
    client.pipe(socket);
    socket.pipe(client);
  });
}

async function checkFor(target: Target, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const isGood = await target.backend.isHealthy().catch(() => false);
    target.against = isGood === target.healthy ? 0 : target.against + 1;
    if (target.against >= (target.healthy ? checks.fall : checks.rise)) {
      target.healthy = !target.healthy;
      target.against = 0;
    }
    await setTimeout(checks.everyMs, undefined, { signal }).catch(() => {});
  }
}
