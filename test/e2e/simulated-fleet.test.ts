import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { type ControlPlane, startControlPlane } from '../../lab/plane/control-plane.ts';
import { sendRequest } from '../../lab/simulated/send-request.ts';
import { type SimulatedControlPlane, startSimulatedControlPlane } from '../../lab/simulated/simulated-control-plane.ts';

interface Sent {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
const json = { 'content-type': 'application/json' };
const apply = { 'content-type': 'application/apply-patch+yaml' };
const merge = { 'content-type': 'application/merge-patch+json' };
const maps = '/api/v1/namespaces/default/configmaps';
const map = (data: object) => JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'one' }, data });

/** Both must answer these requests in the same way, in this order. */
const requests: readonly Sent[] = [
  ...['/api', '/apis'].flatMap((path) => [
    { path, headers: { accept: aggregated } },
    { path, headers: { accept: `${aggregated};profile=nopeer` } },
    { path, headers: { accept: `application/json;q=0.9,${aggregated};q=0.1` } },
    { path, headers: { accept: aggregated.replace('v=v2', 'v=v2beta1') } },
    { path, headers: { accept: `${aggregated.replace('v=v2', 'v=v2beta1')},application/json` } },
    { path, headers: { accept: 'application/json' } },
    { path, headers: { accept: '*/*' } },
    { path, headers: { accept: 'text/html' } },
  ]),
  ...['/api/v1', '/apis/apps', '/apis/apps/v1', '/apis/apps/v9', '/apis/nope.example'].map((path) => ({ path })),
  { path: '/apis/nope.example/v1/things' },
  { path: '/apis/apps/v1/nothings' },
  { path: '/api/v1/namespaces/default/pods/x/nothing' },
  { path: '/nothing' },
  { path: `${maps}/one` },
  { path: '/readyz' },
  { path: '/livez' },
  { path: '/readyz', headers: { authorization: 'Bearer wrong' } },
  { path: '/apis', headers: { authorization: 'Bearer wrong' } },
  { method: 'POST', path: maps, headers: json, body: map({ a: '1' }) },
  { method: 'POST', path: maps, headers: json, body: map({ a: '1' }) },
  { method: 'POST', path: maps.replace('default', 'nowhere'), headers: json, body: map({}) },
  { path: `${maps}/one` },
  { method: 'PATCH', path: `${maps}/one`, headers: merge, body: '{"data":{"a":null,"b":"2"}}' },
  { method: 'PATCH', path: `${maps}/two?fieldManager=x`, headers: apply, body: map({ c: '3' }).replace('one', 'two') },
  { method: 'PATCH', path: `${maps}/two?fieldManager=y`, headers: apply, body: map({ c: '4' }).replace('one', 'two') },
  {
    method: 'PATCH',
    path: `${maps}/two?fieldManager=y&force=true`,
    headers: apply,
    body: map({ c: '4' }).replace('one', 'two'),
  },
  { method: 'PATCH', path: `${maps}/two?fieldManager=x`, headers: apply, body: map({}).replace('one', 'two') },
  { path: `${maps}/two` },
  { method: 'PATCH', path: `${maps}/one`, headers: { 'content-type': 'text/plain' }, body: '{}' },
  {
    method: 'PUT',
    path: `${maps}/one`,
    headers: json,
    body: map({}).replace('"name"', '"resourceVersion":"1","name"'),
  },
  { path: `${maps}?labelSelector=x%20in%20(a,b)` },
  { path: `${maps}?fieldSelector=metadata.name%3Done` },
  { path: `${maps}?watch=true&resourceVersion=1&timeoutSeconds=1` },
  { method: 'DELETE', path: `${maps}/one` },
  { method: 'DELETE', path: `${maps}/one` },
];

/** The relevant parts of an answer: without times, generated names, and values that need schemas or defaults. */
async function ask(base: string, ca: string, token: string, { path, ...sent }: Sent): Promise<object> {
  const answer = await sendRequest({ url: base + path, ca, token, serverName: 'kubernetes.default.svc', ...sent });
  const { etag, vary, 'content-type': type } = answer.headers;
  return { status: answer.status, type, etag, vary, body: essence(answer.body) };
}

function essence(text: string): unknown {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  const { kind, reason, code, data, items } = value;
  if (kind === 'APIGroupDiscoveryList') return text;
  if (kind === 'Status') {
    const { name, group, kind: of } = (value.details ?? {}) as Record<string, string>;
    return { kind, reason, code, details: { name, group, kind: of } };
  }
  if (kind === 'ConfigMap') return { kind, data };
  if (kind === 'ConfigMapList')
    return { kind, names: (items as { metadata: { name: string } }[]).map((one) => one.metadata.name) };
  if (value.type === 'ERROR') return { type: value.type, object: essence(JSON.stringify(value.object)) };
  return JSON.parse(
    JSON.stringify(value, (name, entry) =>
      name === 'storageVersionHash' || name === 'serverAddress' ? undefined : entry,
    ),
  );
}

describe('the simulated fleet', function () {
  this.timeout(300_000);
  let real: ControlPlane;
  let simulated: SimulatedControlPlane;

  before(async () => {
    real = await startControlPlane({
      servers: [
        // In the other order, the old server removes unknown groups from the new one's legacy list when it starts.
        { name: 'old', version: '1.36', emulatedVersion: '1.33' },
        { name: 'new', version: '1.36' },
      ],
      log: () => {},
    });
    simulated = await startSimulatedControlPlane({
      servers: [
        { name: 'new', version: '1.36' },
        { name: 'old', version: '1.33' },
      ],
    });
  });
  after(async () => {
    await simulated?.stop();
    await real?.stop();
  });

  for (const name of ['new', 'old'])
    it(`answers as a real kube-apiserver does: ${name}`, async () => {
      for (const sent of requests) {
        // A real server's own legacy list contains what any server of the control plane has registered; see the guide.
        if (name === 'old' && sent.path === '/apis' && !(sent.headers?.accept ?? '').includes(aggregated)) continue;
        // Real servers have no history from before their start.
        simulated.store.compact();
        const what = `${sent.method ?? 'GET'} ${sent.path} ${JSON.stringify(sent.headers ?? {})}`;
        const expected = await ask(real.server(name).url, readFileSync(real.caFile, 'utf8'), real.tokens.admin, sent);
        const { caFile, tokens } = simulated;
        const got = await ask(simulated.server(name).url, readFileSync(caFile, 'utf8'), tokens.admin, sent);
        expect(got, what).to.deep.equal(expected);
      }
    });
});
