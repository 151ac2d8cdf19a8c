import { expect } from 'chai';
import { parseRequestInfo } from '../../../src/domain/request-info.ts';
import type { AnswerHandler } from '../../../src/http/client/dispatch.ts';
import { askServed, type ServedAnswer } from '../../../src/proxy/forward/ask-served.ts';
import { passThrough } from '../../../src/proxy/identity/request-identity.ts';
import type { PeerRequest, PeerTransport } from '../../../src/proxy/ports.ts';
import type { Exchange } from '../../../src/proxy/request/exchange.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const target = { id: 'a', address: '10.0.0.1:6443', serverName: 'kubernetes.default.svc', pinned: false };
const pods = '/api/v1/namespaces/d/pods/x';
const list = (...names: readonly string[]) =>
  JSON.stringify({ kind: 'APIResourceList', resources: names.map((name) => ({ name })) });

/** Asks about a request. `reply` answers the question. */
function ask(path: string, rawHeaders: readonly string[] = ['Host', 'h']) {
  const asked: { readonly request: PeerRequest; readonly answer: AnswerHandler }[] = [];
  const transport = {
    dispatch: (_target: unknown, request: PeerRequest, answer: AnswerHandler) => {
      asked.push({ request, answer });
      return { pause: () => {}, resume: () => {}, abort: () => {} };
    },
  } as unknown as PeerTransport;
  const exchange = { rawHeaders, identity: passThrough, connection: { remoteAddress: '::1' } } as unknown as Exchange;
  const parsed = parseRequestInfo('GET', path);
  if (parsed.kind === 'bad') throw new Error(parsed.message);
  const found = askServed({ transport, clock: createManualClock() }, target, exchange, parsed.info);
  const [first] = asked;
  const reply = (status: number, body = '') => {
    first?.answer.onHead(status, []);
    first?.answer.onData(Buffer.from(body), false);
    first?.answer.onEnd([]);
    return found;
  };
  return { request: first?.request, answer: first?.answer, found, reply };
}

describe('askServed', () => {
  it('asks for the list of the group-version, in JSON, as the client', () => {
    const { request } = ask(pods, ['Host', 'h', 'Authorization', 'Bearer t', 'Accept', 'application/yaml']);
    expect(request).to.include({ method: 'GET', path: '/api/v1', body: null, longRunning: false, upgrade: undefined });
    expect(request?.rawHeaders).to.include.members(['authorization', 'Bearer t', 'Accept', 'application/json']);
    expect(request?.rawHeaders).not.to.include('application/yaml');
    expect(ask('/apis/new.io/v1/things').request?.path).to.equal('/apis/new.io/v1');
    expect(ask('/apis/a%20b/v%231/things').request?.path).to.equal('/apis/a%20b/v%231');
  });

  it('takes the token of a browser from the protocols of its WebSocket, but never beside another credential', () => {
    const tokenIn = (token: string, more: readonly string[] = []) => {
      const protocol = `base64url.bearer.authorization.k8s.io.${Buffer.from(token).toString('base64url')}`;
      const sent =
        ask(pods, ['Sec-WebSocket-Protocol', `v5.channel.k8s.io, ${protocol}`, ...more]).request?.rawHeaders ?? [];
      return sent.filter((_, at) => sent[at - 1]?.toLowerCase() === 'authorization');
    };
    expect(tokenIn('good')).to.deep.equal(['Bearer good']);
    expect(tokenIn('good', ['Authorization', 'Basic x'])).to.deep.equal(['Basic x']);
    for (const odd of ['', 'a b', 'a\nb', 'a\n', ' b', 'ä', '\x7f']) expect(tokenIn(odd), odd).to.deep.equal([]);
    expect(ask(pods).request?.rawHeaders.join().toLowerCase()).not.to.include('authorization');
  });

  it('asks nobody about a path that names no resource', async () => {
    const { request, found } = ask('/version');
    expect([request, await found]).to.deep.equal([undefined, 'absent']);
  });

  for (const [what, path, status, body, expected] of [
    ['a list with the resource', pods, 200, list('nodes', 'pods'), 'served'],
    ['a list without the resource', pods, 200, list('nodes', 'pods/status'), 'absent'],
    ['an empty list', pods, 200, list(), 'absent'],
    ['a list that is null, as Go writes it', pods, 200, '{"kind":"APIResourceList","resources":null}', 'absent'],
    ['a list that is missing', pods, 200, '{"kind":"APIResourceList"}', 'absent'],
    ['a list with the subresource', `${pods}/status`, 200, list('pods', 'pods/status'), 'served'],
    ['a list with the resource alone', `${pods}/status`, 200, list('pods'), 'absent'],
    ['404', pods, 404, list('pods'), 'absent'],
    ['403', pods, 403, list('pods'), 'untold'],
    ['503', pods, 503, list('pods'), 'untold'],
    ['204', pods, 204, '', 'untold'],
    ['another kind', pods, 200, '{"kind":"Status","resources":[{"name":"pods"}]}', 'untold'],
    ['no kind', pods, 200, '{"resources":[{"name":"pods"}]}', 'untold'],
    ['resources that are no list', pods, 200, '{"kind":"APIResourceList","resources":{"name":"pods"}}', 'untold'],
    ['resources that are nothing', pods, 200, '{"kind":"APIResourceList","resources":[null]}', 'untold'],
    ['null', pods, 200, 'null', 'untold'],
    ['a number', pods, 200, '1', 'untold'],
    ['a text that is no JSON', pods, 200, list('pods').slice(0, -1), 'untold'],
    [
      'more objects than may be read',
      pods,
      200,
      `{"kind":"APIResourceList","x":[${'{},'.repeat(1_000_001)}{}]}`,
      'untold',
    ],
  ] as const)
    it(`takes ${what} for ${expected}`, async () => {
      const answer: ServedAnswer = await ask(path).reply(status, body);
      expect(answer).to.equal(expected);
    });

  it('does not believe a list that is too long to read whole', async () => {
    const whole = `${list('pods')}${' '.repeat(4 * 1024 * 1024)}`;
    expect(await ask(pods).reply(200, whole.slice(0, 4 * 1024 * 1024))).to.equal('served');
    expect(await ask(pods).reply(200, whole)).to.equal('untold');
    const { answer, found } = ask(pods);
    answer?.onHead(200, []);
    answer?.onData(Buffer.from(list('pods')), false);
    answer?.onData(Buffer.alloc(4 * 1024 * 1024), false);
    expect(await found).to.equal('untold');
  });

  it('says nothing if the server fails', async () => {
    const { answer, found } = ask(pods);
    answer?.onFault({ kind: 'reset', sent: true, error: new Error('gone') });
    expect(await found).to.equal('untold');
  });
});
