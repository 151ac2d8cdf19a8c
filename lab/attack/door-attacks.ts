import { connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { nextTurn } from './open-connections.ts';

/** A port of ours for probes (plain HTTP), or for metrics and the status page (HTTPS). */
export interface Door {
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
}

/** An attack of a client without a credential on such a port. It runs until the process ends. */
export type DoorAttack = (door: Door) => Promise<void> | void;

const connections = 400;
const head = (line: string, more = '') => `${line} HTTP/1.1\r\nHost: localhost\r\n${more}`;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Opens a connection, again whenever it ends. It sends `first`, then `more` every second, and reads if `reads`. */
function knock(door: Door, first: () => string, { more = '', reads = true, again = true } = {}): void {
  const { host, port, isSecure } = door;
  const socket = isSecure ? tlsConnect({ host, port, rejectUnauthorized: false }) : tcpConnect({ host, port });
  socket.on('error', () => {});
  let timer: NodeJS.Timeout | undefined;
  socket.once(isSecure ? 'secureConnect' : 'connect', () => {
    if (reads) socket.resume();
    else socket.pause();
    socket.write(first());
    if (more !== '') timer = setInterval(() => socket.write(more), 1_000);
  });
  socket.once('close', () => {
    clearInterval(timer);
    if (again) setTimeout(() => knock(door, first, { more, reads, again }), 50);
  });
}

function knockOften(door: Door, first: () => string, options = {}): void {
  for (let at = 0; at < connections; at++) knock(door, first, options);
}

let made = 0;
const madeUp = () => `Authorization: Bearer made-up-${process.pid}-${made++}\r\n`;

/** All attacks on these ports, by name. */
export const doorAttacks: Readonly<Record<string, DoorAttack>> = {
  'ports: silent connections': (door) => knockOften(door, () => ''),
  'ports: heads, one byte a second': (door) => knockOften(door, () => 'GET /met', { more: 'r' }),
  'ports: bodies, one byte a second': (door) =>
    knockOften(door, () => `${head('POST /status', 'Content-Length: 1000000\r\n')}\r\n`, { more: 'x' }),
  'ports: pipelined requests, answers never read': (door) => {
    const one = `${head('GET /readyz?verbose')}\r\n`;
    knockOften(door, () => one.repeat(500), { reads: false });
  },
  'ports: paths and queries of 15 KB, one connection after another': async (door) => {
    const target = `/status?q=${'%41'.repeat(5_000)}`;
    for (;;) {
      for (let at = 0; at < 8; at++)
        knock(door, () => `${head(`GET ${target}`, `Connection: close\r\n${madeUp()}`)}\r\n`, { again: false });
      await pause(20);
    }
  },
  'ports: made-up tokens, without a pause': async (door) => {
    for (let at = 0; at < 20; at++)
      knock(door, () => Array.from({ length: 100 }, () => `${head('GET /metrics', madeUp())}\r\n`).join(''));
    for (;;) {
      knock(door, () => `${head('GET /metrics', madeUp())}\r\n`, { again: false });
      await pause(5);
    }
  },
  'ports: endless broken HTTP': async (door) => {
    knockOften(door, () => '\u0000'.repeat(10_000), { more: '\u0000'.repeat(10_000) });
    await nextTurn();
  },
  'ports: 100 handshakes at once, again and again': async (door) => {
    for (;;) {
      for (let at = 0; at < 100; at++)
        knock(door, () => `${head('GET /livez', 'Connection: close\r\n')}\r\n`, { again: false });
      await pause(500);
    }
  },
};
