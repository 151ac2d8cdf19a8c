import { expect } from 'chai';
import { routingTable } from '../../lab/routing-table.ts';
import { type Log, silentLog } from '../../src/runtime/log.ts';
import { startProxyUnderTest } from '../support/proxy-under-test.ts';
import { createTestAuthority } from '../support/test-certificates.ts';

describe('startProxy', () => {
  it('logs a doubt about its table once, and its end once', async () => {
    const lines: string[] = [];
    const note = (level: string) => (message: string, fields?: Readonly<Record<string, unknown>>) => {
      if (/^the routing table /.test(message)) lines.push([level, message, fields?.why].filter(Boolean).join(': '));
    };
    const log: Log = { ...silentLog, info: note('info'), warn: note('warn') };
    const bare = await startProxyUnderTest(createTestAuthority('peers'), undefined, { log });
    try {
      bare.use(routingTable({}));
      bare.doubt(undefined);
      expect(lines).to.deep.equal([]);
      for (const why of ['one', 'one', 'two', undefined, undefined, 'one', undefined]) bare.doubt(why);
      expect(lines).to.deep.equal([
        'warn: the routing table may be behind: one',
        'warn: the routing table may be behind: two',
        'info: the routing table is confirmed',
        'warn: the routing table may be behind: one',
        'info: the routing table is confirmed',
      ]);
    } finally {
      await bare.stop();
    }
  });
});
