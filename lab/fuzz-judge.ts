import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { parseArgs } from 'node:util';
import { contentTypeOf, negotiateDiscovery } from '../src/domain/negotiate-media-type.ts';
import { parseRequestInfo } from '../src/domain/request-info.ts';
import { objectToTarget } from '../src/http/server/objections.ts';
import { addToCorpus, readCorpus } from './fuzz/corpus.ts';
import { mutate } from './fuzz/mutate.ts';
import { createFuzzTargets } from './fuzz/targets.ts';
import { type ControlPlane, startControlPlane } from './plane/control-plane.ts';
import { seededRandom } from './seeded-random.ts';
import { waitUntil } from './wait-until.ts';

const usage = `Compares how a real kube-apiserver and this project read mutated request targets and Accept fields.

Usage: make fuzz-judge [ARGS="[--seed N] [--inputs N]"]

  --seed N    chooses the inputs (default: taken from the clock)
  --inputs N  number of targets (default 5000); the number of Accept fields is a fifth of it
`;

/** How kube-apiserver understood a request, from its audit event. */
interface Understood {
  readonly verb: string;
  readonly objectRef?:
    | {
        readonly resource?: string;
        readonly namespace?: string;
        readonly name?: string;
        readonly apiGroup?: string;
        readonly apiVersion?: string;
        readonly subresource?: string;
      }
    | undefined;
}

interface Case {
  readonly id: string;
  readonly method: string;
  readonly target: string;
  readonly accept?: string;
}

/** The head of an answer. */
interface Answer {
  readonly status: number;
  readonly contentType: string | undefined;
}

const policy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['ResponseStarted', 'ResponseComplete', 'Panic'],
  rules: [{ level: 'Metadata' }],
};
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const perConnection = 10;

/**
 * The targets that the proxy passes on to servers. It refuses all others on purpose, even some that kube-apiserver
 * accepts: for example, servers might read a backslash in two ways.
 */
const isSendable = (method: string, target: string) =>
  /^\/[\x21-\x7e]*$/.test(target) && objectToTarget(method, target, ['Host', 'a']) === undefined;

/** The inputs of a target of `make fuzz`, then mutated ones, if they can be sent. */
function makeInputs(kind: string, count: number, random: () => number, isSendable: (text: string) => boolean) {
  const source = createFuzzTargets().find(({ name }) => name === kind);
  if (source === undefined) throw new Error(`there are no ${kind}`);
  const seeds = [...source.inputs.map((text) => Buffer.from(text, 'latin1')), ...readCorpus(kind)];
  const inputs = seeds.map((seed) => seed.toString('latin1')).filter(isSendable);
  while (inputs.length < count) {
    const input = mutate(seeds, source.words, random).toString('latin1');
    if (isSendable(input)) inputs.push(input);
  }
  return inputs.slice(0, count);
}

function makeTargets(count: number, random: () => number): readonly Case[] {
  const methodOf = () => methods[Math.floor(random() * methods.length)] ?? 'GET';
  const targets = makeInputs('targets', count, random, (text) => isSendable('OPTIONS', text));
  return targets.flatMap((target, at): Case[] => {
    const method = methodOf();
    return isSendable(method, target) ? [{ id: `judge-${at}`, method, target }] : [];
  });
}

/** Every path whose documents are negotiated in their own way: through go-restful or not, aggregated or legacy. */
const documentPaths = [
  { target: '/api', routed: true, aggregates: true },
  { target: '/apis', routed: false, aggregates: true },
  { target: '/apis/apps', routed: false, aggregates: false },
  { target: '/apis/apps/v1', routed: true, aggregates: false },
] as const;

/** The field values, as a server gets them. */
const isFieldValue = (text: string) => /^(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?$/.test(text);

function makeAccepts(count: number, random: () => number): readonly Case[] {
  const accepts = makeInputs('accepts', count, random, isFieldValue);
  return accepts.map((accept, at) => {
    const { target } = documentPaths[at % documentPaths.length] ?? documentPaths[0];
    return { id: `judge-${at}`, method: 'GET', target, accept };
  });
}

/** Sends these requests one after the other. Returns the heads of the answers. */
function send(plane: ControlPlane, ca: string, cases: readonly Case[]): Promise<ReadonlyMap<string, Answer>> {
  const [server] = plane.servers;
  const [host = '', port = ''] = server?.address.split(':') ?? [];
  return new Promise((resolve, reject) => {
    const answers = new Map<string, Answer>();
    let text = '';
    const socket = connect({ host, port: Number(port), ca, servername: 'kubernetes.default.svc' });
    socket.setTimeout(30_000, () => socket.destroy());
    socket.setEncoding('latin1').on('data', (piece: string) => (text += piece));
    socket.once('error', reject);
    socket.once('close', () => {
      // Each answer names its request.
      for (const head of text.split(/(?=HTTP\/1\.1 \d{3})/)) {
        const [, id] = /^Audit-Id: (judge-\d+)\r$/im.exec(head) ?? [];
        const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(head) ?? [];
        const [, contentType] = /^Content-Type: (.*)\r$/im.exec(head) ?? [];
        if (id !== undefined) answers.set(id, { status: Number(status), contentType });
      }
      resolve(answers);
    });
    const last = cases.length - 1;
    socket.write(
      cases
        .map(({ id, method, target, accept = '' }, at) => {
          const fields = [`Host: ${host}`, `Authorization: Bearer ${plane.tokens.reader}`, `Audit-ID: ${id}`];
          if (accept !== '') fields.push(`Accept: ${accept}`);
          if (at === last) fields.push('Connection: close');
          return `${method} ${target} HTTP/1.1\r\n${[...fields, 'Content-Length: 0'].join('\r\n')}\r\n\r\n`;
        })
        .join(''),
      'latin1',
    );
  });
}

/** The audit events of all requests that kube-apiserver understood. */
function readAudit(file: string): ReadonlyMap<string, Understood> {
  const events = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return new Map(
    events.map((line) => {
      const { auditID, verb, objectRef } = JSON.parse(line) as Understood & { readonly auditID: string };
      return [auditID, { verb, objectRef }];
    }),
  );
}

const inWords = ({ verb, objectRef }: Understood) =>
  objectRef === undefined
    ? `${verb} of no resource`
    : [
        verb,
        objectRef.apiGroup ?? '',
        objectRef.apiVersion ?? '',
        objectRef.namespace ?? '',
        objectRef.resource ?? '',
        objectRef.name ?? '',
        objectRef.subresource ?? '',
      ].join(' | ');

function ours({ method, target }: Case): string {
  const parsed = parseRequestInfo(method, target);
  if (parsed.kind === 'bad') return 'refused';
  const { verb, isResourceRequest, group, version, namespace, resource, name, subresource } = parsed.info;
  const objectRef = { apiGroup: group, apiVersion: version, namespace, resource, name, subresource };
  return inWords({ verb, objectRef: isResourceRequest ? objectRef : undefined });
}

/** The audit log cannot show bytes that are not UTF-8. It has U+FFFD instead. */
function isSame(own: string, theirs: string): boolean {
  if (!theirs.includes('\ufffd')) return own === theirs;
  const blurred = (text: string) => text.replace(/[\u0080-\u00ff\ufffd]+/g, '\ufffd');
  return blurred(own) === blurred(theirs);
}

/** The verdicts of both on an input, with the request and kube-apiserver's answer. */
interface Verdict {
  readonly input: string;
  readonly asked: string;
  readonly theirs: string;
  readonly status: number | undefined;
  readonly ours: string;
}

/** Returns the number of differences, and keeps their inputs. Undefined means a request without an answer. */
function judge(
  kind: 'targets' | 'accepts',
  verdicts: readonly (Verdict | undefined)[],
  agree: (ours: string, theirs: string) => boolean,
  say: (line: string) => void,
): number {
  const judged = verdicts.filter((verdict) => verdict !== undefined);
  const differing = judged.filter(({ ours, theirs }) => !agree(ours, theirs));
  for (const { input, asked, theirs, status, ours } of differing) {
    say(`${asked}\n  kube-apiserver: ${theirs} (${status})\n  here:           ${ours}`);
    addToCorpus(kind, Buffer.from(input, 'latin1'));
  }
  say(`${judged.length} of ${verdicts.length} ${kind} judged, ${differing.length} differences`);
  return differing.length;
}

/** Compares how targets were understood. */
function judgeTargets(
  cases: readonly Case[],
  answers: ReadonlyMap<string, Answer>,
  understood: ReadonlyMap<string, Understood>,
  say: (line: string) => void,
): number {
  const verdicts = cases.map((one): Verdict | undefined => {
    const event = understood.get(one.id);
    const status = answers.get(one.id)?.status;
    // A bad request that ends a connection also takes the requests behind it.
    if (event === undefined && status === undefined) return undefined;
    const theirs = event === undefined ? 'refused' : inWords(event);
    return { input: one.target, asked: `${one.method} ${one.target}`, theirs, status, ours: ours(one) };
  });
  return judge('targets', verdicts, isSame, say);
}

/**
 * Compares the forms that Accept fields choose.
 *
 * Where the proxy would let a server answer, every refusal counts as equal.
 */
function judgeAccepts(
  cases: readonly Case[],
  answers: ReadonlyMap<string, Answer>,
  say: (line: string) => void,
): number {
  const verdicts = cases.map(({ id, target, accept = '' }): Verdict | undefined => {
    const answer = answers.get(id);
    if (answer === undefined) return undefined;
    const path = documentPaths.find((each) => each.target === target) ?? documentPaths[0];
    const choice = negotiateDiscovery(accept, { routed: path.routed, versions: path.aggregates ? ['v2'] : [] });
    return {
      input: accept,
      asked: `GET ${target}, Accept: ${accept}`,
      theirs: (answer.status === 200 ? answer.contentType : 'refused') ?? 'no type',
      status: answer.status,
      ours: choice === undefined ? 'refused' : contentTypeOf(choice),
    };
  });
  return judge('accepts', verdicts, (own, theirs) => own === theirs, say);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      inputs: { type: 'string', default: '5000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return;
  }
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-judge-'));
  const policyFile = join(folder, 'policy.json');
  const auditFile = join(folder, 'audit.log');
  writeFileSync(policyFile, JSON.stringify(policy));
  const flags = [`--audit-policy-file=${policyFile}`, `--audit-log-path=${auditFile}`, '--audit-log-mode=blocking'];
  say(`seed ${values.seed}`);
  const plane = await startControlPlane({ servers: [{ name: 'judge', version: '1.36', flags }], log: say });
  try {
    const ca = readFileSync(plane.caFile, 'utf8');
    const random = seededRandom(Number(values.seed));
    const ask = async (cases: readonly Case[]) => {
      const answers = new Map<string, Answer>();
      for (let at = 0; at < cases.length; at += perConnection)
        for (const [id, answer] of await send(plane, ca, cases.slice(at, at + perConnection))) answers.set(id, answer);
      return answers;
    };
    const targets = makeTargets(Number(values.inputs), random);
    const statuses = await ask(targets);
    await waitUntil('the audit log', async () => readAudit(auditFile).size > 0);
    const accepts = makeAccepts(Math.ceil(Number(values.inputs) / 5), random);
    const differences =
      judgeTargets(targets, statuses, readAudit(auditFile), say) + judgeAccepts(accepts, await ask(accepts), say);
    if (differences > 0) process.exitCode = 1;
  } finally {
    await plane.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
