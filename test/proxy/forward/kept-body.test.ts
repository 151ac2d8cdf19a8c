import { expect } from 'chai';
import { keepBody } from '../../../src/proxy/forward/kept-body.ts';

async function* chunksOf(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('keepBody', () => {
  it('returns a short body again, from its first byte', async () => {
    const body = keepBody(() => chunksOf('ab', 'cd'), 10);
    expect(body.begun).to.equal(false);
    expect(await readAll(body.open())).to.equal('abcd');
    expect(body).to.include({ begun: true, whole: true });
    expect(await readAll(body.open())).to.equal('abcd');
  });

  it('gives the second reader the bytes that the first one was still waiting for', async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    async function* source(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('ab');
      await gate;
      yield Buffer.from('cd');
    }
    const body = keepBody(source, 10);
    const first = body.open()[Symbol.asyncIterator]();
    expect(String((await first.next()).value)).to.equal('ab');
    const waiting = first.next();
    const second = readAll(body.open());
    release();
    expect(await second).to.equal('abcd');
    expect(String((await waiting).value)).to.equal('cd');
  });

  it('passes a long body on, and says that it is no longer complete', async () => {
    const body = keepBody(() => chunksOf('abc', 'def', 'ghi'), 5);
    expect(await readAll(body.open())).to.equal('abcdefghi');
    expect(body.whole).to.equal(false);
  });

  it('passes on that the client broke off', async () => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('ab');
      throw new Error('the client has left');
    }
    const failure = await readAll(keepBody(source, 10).open()).catch((error: Error) => error.message);
    expect(failure).to.equal('the client has left');
  });

  it('does not keep a body that arrives in too many pieces', async () => {
    const kept = keepBody(async function* () {
      for (let at = 0; at < 1_100; at++) yield Buffer.from('x');
    }, 10_000);
    const chunks: Uint8Array[] = [];
    for await (const chunk of kept.open()) chunks.push(chunk);
    expect(Buffer.concat(chunks)).to.have.length(1_100);
    expect(kept.whole).to.equal(false);
  });
});
