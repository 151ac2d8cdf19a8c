import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { startWorkers, type WorkerReport } from '../../../src/adapters/processes/proxy-workers.ts';
import type { Log } from '../../../src/runtime/log.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { createManualClock, type ManualClock } from '../../support/manual-clock.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const program = join(import.meta.dirname, '..', '..', '..', 'src', 'bin', 'peerdiscovery.ts');

describe('peerdiscovery proxy --workers', function () {
  this.timeout(60_000);

  it('shares port, session tickets and metrics, replaces a worker that ends, and drains all of them', async () => {
    const authority = createTestAuthority('peers');
    const home = await startLoopbackPeer('home', authority);
    const folder = mkdtempSync(join(tmpdir(), 'proxy-workers-'));
    const { certPem, keyPem } = authority.issue({ commonName: 'proxy', dnsNames: ['localhost'] });
    const files = { 'tls.crt': certPem, 'tls.key': keyPem, 'ca.crt': authority.caPem };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const tls = ['--tls-cert-file', `${folder}/tls.crt`, '--tls-private-key-file', `${folder}/tls.key`];
    const table = ['--peer-ca-file', `${folder}/ca.crt`, '--routing-table-file', `${folder}/none.json`];
    const listen = ['--bind-address', '127.0.0.1', '--secure-port', '0', '--home', home.address, '--workers', '2'];
    const endpoint = `127.0.0.1:${20_000 + (process.pid % 20_000)}`;
    const watched = ['--health-bind-address', '0', '--metrics-bind-address', endpoint, '--metrics-secure', 'false'];
    const flags = [...tls, ...table, ...listen, ...watched, '--log-format', 'json'];
    const proxy = spawn(process.execPath, [program, 'proxy', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    const log = follow(proxy);
    try {
      const { port } = await log.next('the proxy serves');
      const { pid } = await log.next('a worker serves');
      const ask = (session?: Buffer) => askOnce(Number(port), authority.caPem, session);

      let metrics = '';
      for (let round = 0; round < 40; round++) expect((await ask()).body).to.equal('home');
      metrics = await readText(`http://${endpoint}/metrics`);
      expect(metrics).to.match(/^peerdiscovery_proxy_request_duration_seconds_count\{[^}]*route="home"[^}]*\} 40$/m);

      const { session } = await ask();
      expect(session).not.to.equal(undefined);
      for (let round = 0; round < 10; round++) expect((await ask(session)).reused).to.equal(true);

      process.kill(Number(pid), 'SIGKILL');
      const ended = await log.next('a worker has ended; starting another');
      expect(ended).to.include({ worker: 'worker-2', signal: 'SIGKILL' });
      const replaced = await log.next('a worker serves');
      expect(replaced.pid).not.to.equal(pid);
      for (let round = 0; round < 10; round++) expect((await ask()).body).to.equal('home');
      metrics = await readText(`http://${endpoint}/metrics`);
      const [, counted] =
        /^peerdiscovery_proxy_request_duration_seconds_count\{[^}]*"home"[^}]*\} (\d+)$/m.exec(metrics) ?? [];
      expect(Number(counted)).to.be.at.least(50);

      const exited = new Promise((resolve) => proxy.once('exit', resolve));
      proxy.kill('SIGTERM');
      expect(await exited).to.equal(0);
      expect(() => process.kill(Number(replaced.pid), 0)).to.throw();
    } finally {
      proxy.kill('SIGKILL');
      await home.kill();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('the workers of a proxy', () => {
  let clock: ManualClock;
  let said: string[];
  let children: FakeWorker[];
  let newOnesHang: boolean;
  const start = (count = 1) => {
    clock = createManualClock();
    said = [];
    children = [];
    newOnesHang = false;
    const note = (message: string, fields = {}) => said.push(`${message}: ${(fields as { worker?: string }).worker}`);
    const log: Log = { ...silentLog, info: note, warn: note, error: note };
    const run = () => {
      const child = new FakeWorker();
      if (newOnesHang) child.hang();
      children.push(child);
      return child as unknown as ChildProcess;
    };
    return startWorkers({ count, args: [], port: 1, ticketKeys: Buffer.alloc(48), clock, log, run });
  };
  const child = (at: number) => children[at] ?? expect.fail(`no process ${at}`);
  const state = (workers: ReturnType<typeof startWorkers>) =>
    workers.checks().map(({ name, ok }) => `${name} ${ok ? 'ok' : 'failed'}`);

  it('fail their own check after three missed reports, until they report again', async () => {
    const workers = start(2);
    for (const one of children) one.serve();
    await clock.advance(1_000);
    expect(state(workers)).to.deep.equal([
      'worker-2-table ok',
      'worker-2-answers ok',
      'worker-3-table ok',
      'worker-3-answers ok',
    ]);
    said.length = 0;
    const asked = child(0).asked.length;
    child(0).hang();
    // Each takes a wait of two seconds and a pause of one; the last one is missed at the end of its wait.
    await clock.advance(8_500);
    expect(state(workers)[1]).to.equal('worker-2-answers ok');
    await clock.advance(500);
    expect(state(workers)).to.deep.equal([
      'worker-2-table ok',
      'worker-2-answers failed',
      'worker-3-table ok',
      'worker-3-answers ok',
    ]);
    expect(workers.checks()[1]?.message).to.match(/hangs.*3 reports/);
    await clock.advance(60_000);
    expect(said).to.deep.equal(['a worker does not answer: worker-2']);
    expect(child(0).asked).to.have.length(asked + 1);
    child(0).goOn();
    await clock.advance(0);
    expect(state(workers)[1]).to.equal('worker-2-answers ok');
    expect(said).to.deep.equal(['a worker does not answer: worker-2', 'a worker answers again: worker-2']);
    await clock.advance(60_000);
    expect(said).to.have.length(2);
    expect(state(workers)[1]).to.equal('worker-2-answers ok');
  });

  it('cause no failure before they serve, and while they are replaced', async () => {
    const workers = start();
    child(0).hang();
    await clock.advance(60_000);
    expect(state(workers)).to.deep.equal(['worker-2-table ok']);
    child(0).serve();
    expect(state(workers)).to.deep.equal(['worker-2-table ok', 'worker-2-answers ok']);
    await clock.advance(60_000);
    expect(state(workers)).to.include('worker-2-answers failed');
    newOnesHang = true;
    child(0).end();
    expect(state(workers)).to.deep.equal([]);
    await clock.advance(1_000);
    expect(children).to.have.length(2);
    child(1).serve();
    expect(state(workers)).to.deep.equal(['worker-2-answers ok']);
    child(1).goOn();
    await clock.advance(1_000);
    expect(state(workers)).to.deep.equal(['worker-2-table ok', 'worker-2-answers ok']);
  });

  it('miss a report that they cannot make, and are asked again', async () => {
    const workers = start();
    child(0).serve();
    child(0).report = () => undefined;
    await clock.advance(60_000);
    expect(state(workers)).to.include('worker-2-answers failed');
    child(0).report = child(0).count;
    await clock.advance(60_000);
    expect(state(workers)).to.include('worker-2-answers ok');
  });

  it('keep their counters while they are late and after they were replaced, but no gauges', async () => {
    const workers = start();
    const read = async () => {
      const text = workers.metrics([]);
      await clock.advance(2_000);
      const lines = (await text).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      return Object.fromEntries(
        lines.map((line) => line.split(/ (?=\S+$)/)).map(([name, value]) => [name, Number(value)]),
      );
    };
    child(0).serve();
    child(0).values = { requests: { home: 5, peer: 2 }, busy: 7, took: [0.5, 2], running: 3 };
    const first = {
      'requests{route="home"}': 5,
      'requests{route="peer"}': 2,
      busy: 7,
      'took_bucket{le="1"}': 1,
      'took_bucket{le="+Inf"}': 2,
      took_sum: 2.5,
      took_count: 2,
      running: 3,
    };
    expect(await read()).to.deep.equal(first);
    child(0).hang();
    expect(await read()).to.deep.equal(first);
    await clock.advance(60_000);
    expect(await read()).to.deep.equal(first);

    child(0).end();
    // Reports that it still sends are not counted again.
    child(0).goOn();
    await clock.advance(0);
    const { running, ...counts } = first;
    expect(running).to.equal(3);
    expect(await read()).to.deep.equal(counts);
    expect(children).to.have.length(2);
    expect(await read()).to.deep.equal({ ...counts, running: 0 });

    child(1).serve();
    child(1).values = { requests: { home: 1, rejected: 4 }, busy: 1, took: [0.5], running: 1 };
    const both = {
      'requests{route="home"}': 6,
      'requests{route="peer"}': 2,
      'requests{route="rejected"}': 4,
      busy: 8,
      'took_bucket{le="1"}': 2,
      'took_bucket{le="+Inf"}': 3,
      took_sum: 3,
      took_count: 3,
      running: 1,
    };
    expect(await read()).to.deep.equal(both);
    child(1).end();
    await clock.advance(1_000);
    child(2).serve();
    child(2).values = { requests: { home: 1 }, busy: 1, took: [], running: 9 };
    expect(await read()).to.deep.equal({ ...both, 'requests{route="home"}': 7, busy: 9, running: 9 });
  });
});

/** A worker without a process. It answers when it is asked, unless it hangs. */
class FakeWorker extends EventEmitter {
  readonly connected = true;
  readonly exitCode = null;
  readonly pid = 1;
  readonly asked: number[] = [];
  values: { requests: Record<string, number>; busy: number; took: number[]; running: number } = {
    requests: {},
    busy: 0,
    took: [],
    running: 0,
  };
  /** The answer of the worker. */
  report: () => Promise<WorkerReport> | undefined = this.count;
  #hangs = false;
  #waiting: number[] = [];

  send(message: { readonly kind: string; readonly id: number }): void {
    if (message.kind !== 'report') return;
    this.asked.push(message.id);
    if (this.#hangs) this.#waiting.push(message.id);
    else void this.#answer(message.id);
  }

  async count(): Promise<WorkerReport> {
    const registers = [new Registry()];
    const requests = new Counter({ name: 'requests', help: '-', labelNames: ['route'], registers });
    for (const [route, count] of Object.entries(this.values.requests)) requests.inc({ route }, count);
    new Counter({ name: 'busy', help: '-', aggregator: 'max', registers }).inc(this.values.busy);
    const took = new Histogram({ name: 'took', help: '-', buckets: [1], registers });
    for (const seconds of this.values.took) took.observe(seconds);
    new Gauge({ name: 'running', help: '-', registers }).set(this.values.running);
    const metrics = (await registers[0]?.getMetricsAsJSON()) ?? [];
    return { metrics, checks: [{ name: 'table', ok: true, message: '' }] };
  }

  serve(): void {
    this.emit('message', { kind: 'up' });
  }

  hang(): void {
    this.#hangs = true;
  }

  goOn(): void {
    this.#hangs = false;
    for (const id of this.#waiting.splice(0)) void this.#answer(id);
  }

  end(): void {
    this.emit('exit', null, 'SIGKILL');
  }

  async #answer(id: number): Promise<void> {
    this.emit('message', { kind: 'report', id, report: await this.report() });
  }
}

interface LogLine {
  readonly msg: string;
  readonly port?: number;
  readonly pid?: number;
  readonly worker?: string;
  readonly signal?: string;
}

/** Returns log lines by message as they arrive, each once. */
function follow(child: ChildProcess) {
  const lines: LogLine[] = [];
  const all: string[] = [];
  let wake = () => {};
  let rest = '';
  for (const output of [child.stdout, child.stderr])
    output?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      all.push(...parts);
      for (const part of parts) if (part.startsWith('{')) lines.push(JSON.parse(part) as LogLine);
      wake();
    });
  child.once('exit', () => wake());
  return {
    async next(message: string): Promise<LogLine> {
      for (;;) {
        const at = lines.findIndex((line) => line.msg === message);
        const [found] = at < 0 ? [] : lines.splice(at, 1);
        if (found !== undefined) return found;
        if (child.exitCode !== null) throw new Error(`the proxy ended: ${all.join('\n')}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** Sends one request over a new connection. */
function askOnce(port: number, ca: string, session?: Buffer) {
  return new Promise<{ body: string; reused: boolean; session: Buffer | undefined }>((resolve, reject) => {
    const options = { host: '127.0.0.1', port, ca, servername: 'localhost', ...(session && { session }) };
    let ticket: Buffer | undefined;
    let reused = false;
    const createConnection = () => {
      const socket: TLSSocket = connect(options, () => {
        reused = socket.isSessionReused();
      });
      socket.on('session', (fresh) => {
        ticket = fresh;
      });
      return socket;
    };
    const request = httpsGet(
      { port, path: '/version', createConnection, headers: { Connection: 'close' } },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.once('end', () => resolve({ body, reused, session: ticket }));
      },
    );
    request.once('error', reject);
  });
}

function readText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    httpGet(url, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('end', () => resolve(text));
    }).once('error', reject);
  });
}
