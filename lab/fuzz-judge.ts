import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { parseArgs } from 'node:util';
import { parseRequestInfo } from '../src/domain/request-info.ts';
import { objectToTarget } from '../src/http/server/objections.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { addToCorpus, readCorpus } from './fuzz/corpus.ts';
import { mutate } from './fuzz/mutate.ts';
import { createFuzzTargets } from './fuzz/targets.ts';
import { seededRandom } from './seeded-random.ts';
import { waitUntil } from './wait-until.ts';

const usage = `Asks a real kube-apiserver what it takes changed request targets for, and compares.

Usage: make fuzz-judge [ARGS="[--seed N] [--inputs N]"]

  --seed N    chooses the inputs (default: of the time)
  --inputs N  how many (default 5000)
`;

/** What a request is about, as an audit event tells it. */
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
 * Targets that the proxy lets pass to where they are understood. What else there is it refuses on purpose, though
 * kube-apiserver takes some of that: servers might read a backslash, say, in two ways.
 */
const isSendable = (method: string, target: string) =>
  /^\/[\x21-\x7e]*$/.test(target) && objectToTarget(method, target, ['Host', 'a']) === undefined;

function makeCases(count: number, random: () => number): readonly Case[] {
  const source = createFuzzTargets().find(({ name }) => name === 'targets');
  if (source === undefined) throw new Error('there are no targets');
  const inputs = [...source.inputs.map((text) => Buffer.from(text, 'latin1')), ...readCorpus('targets')];
  const cases: Case[] = [];
  while (cases.length < count) {
    const at = cases.length;
    const target = (inputs[at] ?? mutate(inputs, source.words, random)).toString('latin1');
    const method = methods[Math.floor(random() * methods.length)] ?? 'GET';
    if (isSendable(method, target)) cases.push({ id: `judge-${at}`, method, target });
    else if (at < inputs.length) inputs.splice(at, 1);
  }
  return cases;
}

/** Sends these, one after the other; gives the statuses. */
function send(plane: ControlPlane, ca: string, cases: readonly Case[]): Promise<ReadonlyMap<string, number>> {
  const [server] = plane.servers;
  const [host = '', port = ''] = server?.address.split(':') ?? [];
  return new Promise((resolve, reject) => {
    const statuses = new Map<string, number>();
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
        if (id !== undefined) statuses.set(id, Number(status));
      }
      resolve(statuses);
    });
    const last = cases.length - 1;
    socket.write(
      cases
        .map(({ id, method, target }, at) => {
          const fields = [`Host: ${host}`, `Authorization: Bearer ${plane.tokens.reader}`, `Audit-ID: ${id}`];
          if (at === last) fields.push('Connection: close');
          return `${method} ${target} HTTP/1.1\r\n${[...fields, 'Content-Length: 0'].join('\r\n')}\r\n\r\n`;
        })
        .join(''),
      'latin1',
    );
  });
}

/** What kube-apiserver has written of each request that it understood. */
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
    const cases = makeCases(Number(values.inputs), seededRandom(Number(values.seed)));
    const statuses = new Map<string, number>();
    for (let at = 0; at < cases.length; at += perConnection)
      for (const [id, status] of await send(plane, ca, cases.slice(at, at + perConnection))) statuses.set(id, status);
    await waitUntil('the audit log', async () => readAudit(auditFile).size > 0);
    const understood = readAudit(auditFile);
    let differences = 0;
    let judged = 0;
    for (const one of cases) {
      const event = understood.get(one.id);
      // A connection that a bad request ends takes those behind it with it.
      if (event === undefined && statuses.get(one.id) === undefined) continue;
      judged++;
      const theirs = event === undefined ? 'refused' : inWords(event);
      const own = ours(one);
      if (own === theirs) continue;
      differences++;
      say(
        `${one.method} ${one.target}\n  kube-apiserver: ${theirs} (${statuses.get(one.id)})\n  here:           ${own}`,
      );
      addToCorpus('targets', Buffer.from(one.target, 'latin1'));
    }
    say(`${judged} of ${cases.length} targets judged, ${differences} differences`);
    if (differences > 0) process.exitCode = 1;
  } finally {
    await plane.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
