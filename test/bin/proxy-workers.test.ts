import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { startLoopbackPeer } from '../support/loopback-peer.ts';
import { createTestAuthority } from '../support/test-certificates.ts';

const program = join(import.meta.dirname, '..', '..', 'src', 'bin', 'peerdiscovery.ts');

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
      const ended = await log.next('a worker has ended and is replaced');
      expect(ended).to.include({ worker: 'worker-2', signal: 'SIGKILL' });
      const replaced = await log.next('a worker serves');
      expect(replaced.pid).not.to.equal(pid);
      for (let round = 0; round < 10; round++) expect((await ask()).body).to.equal('home');

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

interface LogLine {
  readonly msg: string;
  readonly port?: number;
  readonly pid?: number;
  readonly worker?: string;
  readonly signal?: string;
}

/** Hands out log lines by message, each once, as they come. */
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

/** One request over a connection of its own. */
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
