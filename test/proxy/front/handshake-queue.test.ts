import { PassThrough } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import { type Accepted, HandshakeQueue, isWholeHello } from '../../../src/proxy/front/handshake-queue.ts';

/** A ClientHello of this many bytes, in records of at most this size. RFC 8446, 4 and 5.1. */
function hello(bytes: number, perRecord = bytes + 4): Buffer {
  const message = Buffer.alloc(4 + bytes, 7);
  message.writeUInt32BE(bytes);
  message[0] = 1;
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += perRecord) {
    const piece = message.subarray(at, at + perRecord);
    records.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 0xff]), piece);
  }
  return Buffer.concat(records);
}

describe('TLS handshakes', () => {
  let now: number;
  let begun: Accepted[];
  let queue: HandshakeQueue<Accepted>;
  beforeEach(() => {
    now = 0;
    // A queue of an earlier test may still have turns.
    const own: Accepted[] = [];
    begun = own;
    queue = new HandshakeQueue<Accepted>(
      10_000,
      (socket) => own.push(socket),
      () => now,
    );
  });

  function connect(said: Buffer = hello(200), remoteAddress = '192.0.2.1'): PassThrough {
    const socket = Object.assign(new PassThrough(), { remoteAddress });
    queue.add(socket);
    socket.write(said);
    return socket;
  }
  const turns = async (count: number) => {
    for (let at = 0; at < count; at++) await nextTurn();
  };

  it('begin when the whole ClientHello is there, and find it', async () => {
    const said = hello(200, 60);
    const socket = connect(said.subarray(0, 3));
    for (const [from, to] of [
      [3, 70],
      [70, said.length - 1],
    ]) {
      socket.write(said.subarray(from, to));
      await turns(5);
      expect(begun).to.have.length(0);
    }
    socket.write(said.subarray(-1));
    await turns(5);
    expect(begun).to.deep.equal([socket]);
    expect(socket.read()).to.deep.equal(said);
  });

  it('leave others their turns, however many clients arrive at once', async () => {
    for (let at = 0; at < 100; at++) connect();
    const perTurn: number[] = [];
    for (let before = 0, left = 40; left > 0; left--) {
      await nextTurn();
      perTurn.push(begun.length - before);
      before = begun.length;
    }
    expect(begun).to.have.length(100);
    expect(Math.max(...perTurn)).to.be.at.most(4);
  });

  it('take one client network after another', async () => {
    for (let at = 0; at < 100; at++) connect();
    const other = connect(hello(200), '192.0.2.2');
    await turns(10);
    expect(begun.indexOf(other)).to.be.within(0, 1);
  });

  it('count all addresses of an IPv6 /64 as one client', async () => {
    for (let at = 0; at < 100; at++) connect(hello(200), `2001:db8::${at}`);
    const other = connect(hello(200), '2001:db8:0:1::1');
    await turns(10);
    expect(begun.indexOf(other)).to.be.within(0, 1);
  });

  it('end if the ClientHello does not arrive', async () => {
    const late = connect(hello(200).subarray(0, 50));
    now = 5_000;
    const other = connect(Buffer.alloc(0));
    queue.sweep(9_999);
    expect(late.destroyed).to.equal(false);
    queue.sweep(10_000);
    expect([late.destroyed, other.destroyed]).to.deep.equal([true, false]);
  });

  it('pass bytes that are not a ClientHello on at once, and TLS refuses them', () => {
    for (const said of [
      Buffer.from('GET / HTTP/1.1\r\n'),
      Buffer.from([22, 3, 1, 0xff, 0xff, 1]),
      Buffer.from([22, 3, 1, 0, 0]),
      Buffer.from([22, 3, 1, 0, 5, 2, 0, 0, 1, 0]),
      Buffer.from([22, 3, 1, 0, 5, 1, 0xff, 0xff, 0xff, 0]),
    ])
      expect(isWholeHello(said), said.toString('hex')).to.equal(true);
    expect(isWholeHello(Buffer.from([22, 3, 1]))).to.equal(false);
  });
});
