import { expect } from 'chai';
import { ConnectFault } from '../../../src/http/client/dispatch.ts';
import { maxHandshakes, type WaitingRequest, WaitingRequests } from '../../../src/http/client/waiting-requests.ts';

/** A request that says how it ended. */
class Request implements WaitingRequest {
  settled = false;
  ending = 'none';

  fail(kind: string): void {
    this.settled = true;
    this.ending = kind;
  }
}

describe('requests that wait for a connection', () => {
  let handshakes: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  let room = 0;
  /** Runs in the middle of a start, as when a request that starts ends others. */
  let meanwhile = () => {};

  const create = (perConnection: number) => {
    handshakes = [];
    room = 0;
    meanwhile = () => {};
    return new WaitingRequests<Request>({
      perConnection,
      connect: () =>
        new Promise<void>((resolve, reject) => {
          handshakes.push({ resolve, reject });
        }),
      start: (request) => {
        if (room === 0) return false;
        room--;
        request.ending = request.ending === 'none' ? 'started' : 'started twice';
        meanwhile();
        return true;
      },
    });
  };
  const add = (waiting: WaitingRequests<Request>, count: number) => {
    const requests = Array.from({ length: count }, () => new Request());
    for (const request of requests) waiting.add(request);
    return requests;
  };
  const endings = (requests: readonly Request[]) => requests.map(({ ending }) => ending);
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('get one handshake each, up to a bound', () => {
    const waiting = create(1);
    add(waiting, maxHandshakes + 10);
    expect(handshakes).to.have.length(maxHandshakes);
    expect(waiting).to.include({ size: maxHandshakes + 10, connecting: maxHandshakes });
  });

  it('share handshakes if a connection carries several', () => {
    const waiting = create(100);
    add(waiting, 100);
    expect(handshakes).to.have.length(1);
    add(waiting, 1);
    expect(handshakes).to.have.length(2);
  });

  it('start in order when there is room, and open no connection for those that started', async () => {
    const waiting = create(1);
    const requests = add(waiting, 3);
    room = 2;
    handshakes[0]?.resolve();
    await turn();
    expect(endings(requests)).to.deep.equal(['started', 'started', 'none']);
    expect(handshakes).to.have.length(3);
  });

  it('open the next connection when a handshake is over', async () => {
    const waiting = create(1);
    add(waiting, maxHandshakes + 1);
    room = 1;
    handshakes[0]?.resolve();
    await turn();
    expect(waiting).to.include({ size: maxHandshakes, connecting: maxHandshakes });
  });

  it('are skipped if their clients have left', () => {
    const waiting = create(1);
    const [first, second] = add(waiting, 2);
    if (first !== undefined) first.settled = true;
    room = 1;
    waiting.serve();
    expect(first?.ending).to.equal('none');
    expect(second?.ending).to.equal('started');
  });

  it('start once, even if there is news of room while one starts', () => {
    const waiting = create(1);
    const requests = add(waiting, 2);
    room = 3;
    meanwhile = () => waiting.serve();
    waiting.serve();
    expect(endings(requests)).to.deep.equal(['started', 'started']);
  });

  it('are not forgotten if one that starts ends all others, and then another comes', () => {
    const waiting = create(1);
    add(waiting, 2);
    let late: readonly Request[] = [];
    meanwhile = () => {
      meanwhile = () => {};
      waiting.fail('timeout', new Error('away'));
      late = add(waiting, 1);
    };
    room = 1;
    waiting.serve();
    room = 1;
    waiting.serve();
    expect(endings(late)).to.deep.equal(['started']);
  });

  it('no longer count if their clients have left', () => {
    const waiting = create(1);
    const [first] = add(waiting, 2);
    if (first !== undefined) first.settled = true;
    waiting.prune();
    expect(waiting.size).to.equal(1);
  });

  it('fail together when a handshake fails, with its kind', async () => {
    const waiting = create(1);
    const requests = add(waiting, maxHandshakes + 1);
    handshakes[0]?.reject(new ConnectFault('certificate', 'wrong name'));
    await turn();
    expect(new Set(endings(requests))).to.deep.equal(new Set(['certificate']));
    expect(waiting.size).to.equal(0);
    expect(handshakes).to.have.length(maxHandshakes);
  });

  it('fail with the kind connect when the reason is unknown', async () => {
    const waiting = create(1);
    const requests = add(waiting, 1);
    handshakes[0]?.reject(new Error('odd'));
    await turn();
    expect(endings(requests)).to.deep.equal(['connect']);
  });
});
