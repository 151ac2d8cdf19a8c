import { expect } from 'chai';
import { seededRandom } from '../../../lab/seeded-random.ts';
import { RequestBody } from '../../../src/http/server/request-body.ts';

const source = { onRoom: () => {} };

async function readAll(body: RequestBody): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return chunks;
}

describe('RequestBody', () => {
  it('returns the pushed bytes in order, however they are pushed and read', async () => {
    const random = seededRandom(9);
    for (let turn = 0; turn < 50; turn++) {
      const body = new RequestBody(source);
      const pushed: Uint8Array[] = [];
      const read: Uint8Array[] = [];
      for (let step = 0; step < 300; step++) {
        if (random() < 0.7) {
          const chunk = Buffer.alloc(1 + Math.floor(random() ** 4 * 5_000), Math.floor(random() * 256));
          pushed.push(Buffer.from(chunk));
          body.push(chunk);
          // The caller may reuse its buffer for the joined bytes, but no reader may see that.
        } else if (Buffer.concat(pushed).length > Buffer.concat(read).length) {
          const { value } = (await body.next()) as { value: Uint8Array };
          read.push(value);
        }
      }
      body.finish();
      read.push(...(await readAll(body)));
      expect(Buffer.concat(read).equals(Buffer.concat(pushed))).to.equal(true);
    }
  });

  it('joins small chunks that no reader waits for, so that many cost little', async () => {
    const body = new RequestBody(source);
    for (let at = 0; at < 100_000; at++) body.push(Buffer.from([at & 255]));
    body.finish();
    const chunks = await readAll(body);
    expect(chunks.length).to.be.below(40);
    const bytes = Buffer.concat(chunks);
    expect(bytes).to.have.length(100_000);
    for (let at = 0; at < 100_000; at += 997) expect(bytes[at]).to.equal(at & 255);
  });

  it('reports when it has enough, by bytes and by pieces, and when there is room again', async () => {
    let rooms = 0;
    const body = new RequestBody({ onRoom: () => rooms++ }, 10_000);
    expect(body.push(Buffer.alloc(5_000))).to.equal(true);
    expect(body.push(Buffer.alloc(5_000))).to.equal(false);
    expect(rooms).to.equal(0);
    await body.next();
    expect(rooms).to.equal(1);
    await body.next();
    let pieces = 0;
    while (body.push(Buffer.alloc(1_500))) pieces++;
    expect(pieces).to.equal(4);
  });
});
