import type { ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import { expect } from 'chai';
import { connectRawHttp2, flags, frame, frameTypes, literals, requestFields } from '../../../lab/raw-http2.ts';
import { limitOptions, readLimitFlags } from '../../../src/flags/limit-flags.ts';
import { readFlags } from '../../../src/flags/read-flags.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

describe('--goaway-chance', () => {
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  /** The next random numbers; 0.5 once the list is empty. */
  let chances: number[];
  const start = async (goawayChance: number) => {
    home = await startLoopbackPeer('home', authority);
    proxy = await startProxyUnderTest(authority, home, {
      limits: { goawayChance },
      random: () => chances.shift() ?? 0.5,
    });
  };
  beforeEach(() => {
    chances = [];
  });
  afterEach(async () => {
    await proxy.stop();
    await home.kill();
  });

  /** Sends a request over one kept connection. Resolves to the header `Connection`. */
  const askKept = (agent: Agent) =>
    new Promise<string | undefined>((resolve, reject) => {
      const { port, caPem } = proxy;
      const sent = request({ agent, host: 'localhost', port, ca: caPem, path: '/api/v1/pods' }, (response) => {
        response.resume().once('end', () => resolve(response.headers.connection));
      });
      sent.once('error', reject).end();
    });

  it('ends a share of the connections over HTTP/1.1 with an answer', async () => {
    await start(0.01);
    chances = [0.01, 0.009, 0.5];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const seen = [await askKept(agent), await askKept(agent), await askKept(agent)];
    agent.destroy();
    expect(seen.map((value) => value === 'close')).to.deep.equal([false, true, false]);
  });

  it('sends GOAWAY to a share of the HTTP/2 clients, and serves the requests on their way', async () => {
    await start(0.01);
    const held: ServerResponse[] = [];
    home.answer = (_request, response) => {
      held.push(response);
    };
    chances = [0.02, 0.001];
    const client = await connectRawHttp2(proxy.port, authority.caPem);
    const whole = flags.endHeaders | flags.endStream;
    const ask = (stream: number) => client.write(frame(frameTypes.headers, whole, stream, literals(requestFields())));
    const goodbyes = () => client.seen.filter(({ type }) => type === frameTypes.goaway).length;
    ask(1);
    await eventually(() => held.length === 1);
    expect(goodbyes()).to.equal(0);
    ask(3);
    await eventually(() => goodbyes() > 0 && held.length === 2);
    for (const response of held) response.end('late');
    await client.closed;
    const ended = client.seen.filter(({ flags: bits, type }) => type < 2 && (bits & flags.endStream) !== 0);
    expect(ended.map(({ stream }) => stream)).to.have.members([1, 3]);
  });

  it('uses no random number while it is off', async () => {
    await start(0);
    chances = [0];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const seen = [await askKept(agent), await askKept(agent)];
    agent.destroy();
    expect(seen).to.not.include('close');
  });
});

describe('the flag --goaway-chance', () => {
  const read = (value: string) => {
    const given = readFlags([`--goaway-chance=${value}`], limitOptions);
    const { goawayChance } = readLimitFlags(given);
    return { goawayChance, problems: given.problems };
  };

  it("accepts kube-apiserver's range", () => {
    for (const value of ['0', '0.001', '.02', '0.02', '1e-3'])
      expect(read(value)).to.deep.equal({ goawayChance: Number(value), problems: [] });
  });

  it('refuses all other values with its cure', () => {
    const problem = '--goaway-chance must be a number from 0 to 0.02, such as 0.001';
    for (const value of ['-0.1', '0.021', '1', 'often', '1%', 'NaN', ' '])
      expect(read(value).problems, value).to.deep.equal([problem]);
  });
});
