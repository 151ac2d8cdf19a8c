import {
  type Attack,
  headOf,
  madeUpToken,
  nextTurn,
  type OpenOptions,
  openConnection,
  pause,
  times,
  type Victim,
} from './open-connections.ts';

const connections = 400;
const madeUp = () => `Authorization: ${madeUpToken()}\r\n`;

/** For a connection that ends after one answer. */
const once: OpenOptions = { reads: true, again: false };

function openOften(victim: Victim, first: () => string, options: OpenOptions = {}): void {
  times(connections, () => openConnection(victim, first, { reads: true, ...options }));
}

/** The attacks on ports for probes (plain HTTP), and for metrics and the status page (HTTPS), by name. */
export const doorAttacks: Readonly<Record<string, Attack>> = {
  'ports: silent connections': (victim) => openOften(victim, () => ''),
  'ports: heads, one byte a second': (victim) => openOften(victim, () => 'GET /met', { everySecond: 'r' }),
  'ports: bodies, one byte a second': (victim) =>
    openOften(victim, () => `${headOf('POST /status', 'Content-Length: 1000000\r\n')}\r\n`, { everySecond: 'x' }),
  'ports: pipelined requests, answers never read': (victim) => {
    const one = `${headOf('GET /readyz?verbose')}\r\n`;
    openOften(victim, () => one.repeat(500), { reads: false });
  },
  'ports: paths and queries of 15 KB, one connection after another': async (victim) => {
    const target = `/status?q=${'%41'.repeat(5_000)}`;
    for (;;) {
      times(8, () =>
        openConnection(victim, `${headOf(`GET ${target}`, `Connection: close\r\n${madeUp()}`)}\r\n`, once),
      );
      await pause(20);
    }
  },
  'ports: made-up tokens, without a pause': async (victim) => {
    const ask = () => `${headOf('GET /metrics', madeUp())}\r\n`;
    times(20, () => openConnection(victim, () => times(100, ask).join(''), { reads: true }));
    for (;;) {
      openConnection(victim, ask, once);
      await pause(5);
    }
  },
  'ports: endless broken HTTP': async (victim) => {
    openOften(victim, () => '\u0000'.repeat(10_000), { everySecond: '\u0000'.repeat(10_000) });
    await nextTurn();
  },
  'ports: 100 handshakes at once, again and again': async (victim) => {
    for (;;) {
      times(100, () => openConnection(victim, `${headOf('GET /livez', 'Connection: close\r\n')}\r\n`, once));
      await pause(500);
    }
  },
};
