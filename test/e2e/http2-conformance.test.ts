import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { ensureH2spec } from '../../lab/build/build-go-tool.ts';
import { startLoopbackPeer } from '../support/loopback-peer.ts';
import { startProxyUnderTest } from '../support/proxy-under-test.ts';
import { createTestAuthority } from '../support/test-certificates.ts';

const run = promisify(execFile);

/** Cases about priorities, which RFC 9113 (section 5.3.2) has deprecated. The server ignores them. */
const ofPriorities = ['Sends HEADERS frame that depend on itself', 'Sends PRIORITY frame that depend on itself'];

describe('HTTP/2 under h2spec', function () {
  this.timeout(300_000);

  it('passes every case except those about priorities', async () => {
    const folder = await ensureH2spec((message) => void process.stdout.write(`      … ${message}\n`));
    const authority = createTestAuthority('peers');
    const home = await startLoopbackPeer('home', authority);
    // An answer to half a request would race with the case that sends an invalid second half.
    home.answer = (request, response) => request.resume().once('end', () => response.end('a body of several bytes'));
    const proxy = await startProxyUnderTest(authority, home);
    try {
      const args = ['-h', '127.0.0.1', '-p', String(proxy.port), '-t', '-k', '-P', '/version', '--timeout', '5'];
      const { stdout } = await run(join(folder, 'h2spec'), args).catch((error: { stdout?: string }) => error);
      const report = stdout ?? '';
      const failed = [...report.slice(report.indexOf('Failures:')).matchAll(/× \d+: (.*)/g)].map(([, name]) => name);
      expect(failed, report).to.have.members(ofPriorities);
      const [, tests, passed] = /(\d+) tests, (\d+) passed, 0 skipped/.exec(report) ?? [];
      expect(Number(tests), report).to.be.above(140);
      expect(Number(passed)).to.equal(Number(tests) - ofPriorities.length);
    } finally {
      await proxy.stop();
      await home.kill();
    }
  });
});
