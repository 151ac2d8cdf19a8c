import { expect } from 'chai';
import fc from 'fast-check';
import { createLog, type LogFormat } from '../../../src/adapters/logging/create-log.ts';

describe('createLog', () => {
  function collect(format: LogFormat, level: 'error' | 'warn' | 'info' | 'debug' = 'info') {
    const lines: string[] = [];
    return { lines, log: createLog({ format, level, write: (line) => lines.push(line) }) };
  }

  it('writes one JSON object per line: time, level, message, then the fields', () => {
    const { lines, log } = collect('json');
    log.info('hello\nworld', { peer: 'a', count: 3, nothing: undefined });
    log.warn('again');
    expect(lines).to.have.length(2);
    expect(lines[0]).to.match(
      /^\{"ts":"\d{4}-\d\d-\d\dT[\d:.]+Z","level":"info","msg":"hello\\nworld","peer":"a","count":3\}\n$/,
    );
    expect(JSON.parse(lines[1] ?? '')).to.include({ level: 'warn', msg: 'again' });
  });

  it('writes one line per entry in the human-readable format, too', () => {
    const { lines, log } = collect('text');
    log.error('two\nlines', { address: '10.0.0.1:6443', text: 'with space\nand line' });
    expect(lines.join('')).to.match(/^\S+Z ERROR two lines address=10\.0\.0\.1:6443 text="with space\\nand line"\n$/);
  });

  it('omits entries below its level', () => {
    const { lines, log } = collect('json', 'warn');
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
    expect(lines.map((line) => JSON.parse(line).msg)).to.deep.equal(['c', 'd']);
  });

  it('adds the fields of its parents, with the nearest parent last', () => {
    const { lines, log } = collect('json');
    log.child({ a: 1, b: 1 }).child({ b: 2 }).info('x', { c: 3 });
    expect(JSON.parse(lines[0] ?? '')).to.include({ a: 1, b: 2, c: 3 });
  });

  it('prints errors with message, code and cause', () => {
    const { lines, log } = collect('json');
    const root = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    log.error('failed', { error: new Error('fetch failed', { cause: root }) });
    expect(JSON.parse(lines[0] ?? '').error).to.deep.equal({
      message: 'fetch failed',
      cause: { message: 'refused', code: 'ECONNREFUSED' },
    });
  });

  it('redacts secrets at any depth', () => {
    const { lines, log } = collect('json');
    const headers = { Authorization: 'Bearer s3cret', accept: '*/*' };
    log.child({ token: 's3cret' }).info('x', { request: { headers }, keyPem: 's3cret', key: 's3cret' });
    expect(lines[0]).not.to.contain('s3cret');
    expect(lines[0]).to.contain('*/*');
  });

  it('does not let a field replace time, level or message', () => {
    const { lines, log } = collect('json');
    log.info('real', { msg: 'fake', level: 'fake', ts: 'fake', message: 'fake' });
    expect(JSON.parse(lines[0] ?? '')).to.include({ msg: 'real', level: 'info', msg_: 'fake' });
  });

  it('prints cycles, big numbers, maps and throwing getters without throwing', () => {
    const { lines, log } = collect('json');
    const cycle: Record<string, unknown> = { name: 'cycle' };
    cycle.self = cycle;
    const hostile = {
      get boom() {
        throw new Error('no');
      },
    };
    log.info('x', { cycle, big: 10n, map: new Map([['a', 1]]), set: new Set([1]), hostile, nan: Number.NaN });
    log.info('x', {
      bytes: new Uint8Array(3),
      date: new Date(Number.NaN),
      sign: Symbol('s'),
      many: Array(1000).fill(0),
    });
    expect(JSON.parse(lines[0] ?? '')).to.deep.include({
      cycle: { name: 'cycle', self: '[circular]' },
      big: '10',
      map: { a: 1 },
      set: [1],
      hostile: '[unprintable]',
      nan: 'NaN',
    });
    expect(JSON.parse(lines[1] ?? '')).to.include({ bytes: '[3 bytes]', date: 'invalid date', sign: 'Symbol(s)' });
  });

  it('writes exactly one line for any input', () => {
    for (const format of ['json', 'text'] as const) {
      const { lines, log } = collect(format);
      fc.assert(
        fc.property(fc.string({ unit: 'binary' }), fc.dictionary(fc.string(), fc.anything()), (message, fields) => {
          lines.length = 0;
          log.info(message, fields);
          expect(lines).to.have.length(1);
          expect(lines[0]?.match(/[\r\n]/g)).to.deep.equal(['\n']);
          if (format === 'json') expect(JSON.parse(lines[0] ?? '')).to.include({ msg: message });
        }),
        { numRuns: 40 },
      );
    }
  });
});
