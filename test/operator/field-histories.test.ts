import { expect } from 'chai';
import fc from 'fast-check';
import { accepts, knows, type SimulatedField, type Types } from '../../lab/simulated/typed-fields.ts';
import { createTypedServers, type TypedServers } from '../../lab/simulated/typed-servers.ts';
import type { SimulatedVersion } from '../../lab/simulated/version-profile.ts';
import { parseRequestInfo } from '../../src/domain/request-info.ts';
import { type FieldRoute, type RouteDecision, routeRequest } from '../../src/domain/route-request.ts';
import { indexTable } from '../../src/domain/table-index.ts';
import { hashText } from '../../src/runtime/hash-text.ts';
import { createFakeControlPlane } from '../support/fake-control-plane.ts';

/** The version of a server: its program, and the version that it emulates. */
type RunAs = readonly [program: SimulatedVersion, emulates?: SimulatedVersion];

type Write = 'merge' | 'apply' | 'put' | 'replace' | 'status' | 'label';

type Step =
  | { readonly kind: 'write'; readonly write: Write; readonly of: number; readonly home: number; readonly turn: number }
  | { readonly kind: 'restart'; readonly server: number; readonly awaySeconds: number; readonly as: RunAs | 'same' }
  | { readonly kind: 'wait'; readonly seconds: number }
  | { readonly kind: 'newSettings' };

interface History {
  readonly servers: readonly RunAs[];
  readonly fields: readonly (readonly SimulatedField[])[];
  readonly steps: readonly Step[];
}

const [old, young] = ['1.34', '1.35'] as const;
const written = [
  {
    resource: 'apps/deployments',
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    list: '/apis/apps/v1/namespaces/x/deployments',
  },
  {
    resource: 'apps/statefulsets',
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    list: '/apis/apps/v1/namespaces/x/statefulsets',
  },
  { resource: 'batch/jobs', apiVersion: 'batch/v1', kind: 'Job', list: '/apis/batch/v1/namespaces/x/jobs' },
];

function histories(): fc.Arbitrary<History> {
  const field = (name: string): fc.Arbitrary<SimulatedField> =>
    fc.constantFrom(
      // A new field, one whose gate is off in the old version, one that all have, and one that the new version lacks.
      { name, since: 35, on: 35 },
      { name, since: 34, on: 35 },
      { name, since: 30, on: 30 },
      { name, since: 30, on: 30, until: 35 },
    );
  const fields = fc.tuple(field('one'), field('two'), field('three'));
  const runAs = fc.constantFrom<RunAs>([old], [young], [young], [young, old]);
  const write: fc.Arbitrary<Step> = fc.record({
    kind: fc.constant('write' as const),
    write: fc.constantFrom<Write>('merge', 'apply', 'put', 'replace', 'status', 'label'),
    of: fc.nat(written.length - 1),
    home: fc.nat(3),
    turn: fc.nat(3),
  });
  const restart: fc.Arbitrary<Step> = fc.record({
    kind: fc.constant('restart' as const),
    server: fc.nat(3),
    // A kube-apiserver takes longer to start than the operator takes to notice its absence.
    awaySeconds: fc.constantFrom(2, 6, 20),
    as: fc.oneof(runAs, fc.constant('same' as const)),
  });
  return fc.record({
    servers: fc.array(runAs, { minLength: 2, maxLength: 4 }),
    fields: fc.tuple(fields, fields, fields),
    steps: fc.array(
      fc.oneof(
        { weight: 12, arbitrary: write },
        { weight: 4, arbitrary: restart },
        {
          weight: 3,
          arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: fc.constantFrom(0.5, 2, 12) }),
        },
        { weight: 1, arbitrary: fc.constant({ kind: 'newSettings' as const }) },
      ),
      { minLength: 10, maxLength: 40 },
    ),
  });
}

/** Outcomes over all histories, so that a test of nothing is noticed. */
interface Seen {
  confirmed: number;
  refused: number;
  warned: number;
  elsewhere: number;
}

/** Runs a history on the operator's real controller and the proxy's real routing. The servers have their own types. */
class Run {
  readonly #plane = createFakeControlPlane();
  readonly #typed: TypedServers;
  readonly #servers: { name: string; address: string; as: RunAs; running: boolean }[];
  readonly #seen: Seen;
  /** The confirmed value, by object and field. */
  readonly #promised = new Map<string, Map<SimulatedField, string>>();
  #value = 0;

  constructor({ servers, fields }: History, seen: Seen) {
    this.#seen = seen;
    this.#typed = createTypedServers(new Map(written.map(({ resource }, at) => [resource, fields[at] ?? []])));
    this.#servers = servers.map((as, at) => ({ name: `s${at}`, address: `10.0.0.${at + 1}:6443`, as, running: true }));
    this.#typed.put({ resource: '/namespaces', namespace: '', name: 'x' }, { metadata: { name: 'x' } });
    for (const { resource, apiVersion, kind } of written) {
      const metadata = { name: 'o', namespace: 'x' };
      this.#typed.put({ resource, namespace: 'x', name: 'o' }, { apiVersion, kind, metadata, spec: {} });
      this.#promised.set(resource, new Map());
    }
  }

  async play(steps: readonly Step[]): Promise<void> {
    for (const at of this.#servers.keys()) this.#announce(at);
    this.#plane.start();
    await this.#advance(3);
    try {
      for (const step of steps) await this.#step(step);
    } finally {
      await this.#plane.controller.stop();
    }
  }

  async #step(step: Step): Promise<void> {
    switch (step.kind) {
      case 'write':
        this.#write(step);
        return;
      case 'wait':
        return this.#advance(step.seconds);
      case 'newSettings':
        await this.#plane.restart({ generation: this.#value });
        return this.#advance(1);
      case 'restart':
        return this.#restart(step);
    }
  }

  async #restart({ server: at, awaySeconds, as }: Extract<Step, { kind: 'restart' }>): Promise<void> {
    const server = this.#servers[at % this.#servers.length];
    if (server === undefined) return;
    server.running = false;
    const known = this.#plane.servers.get(server.address);
    if (known !== undefined) known.probe = { kind: 'unreachable', detail: 'connection refused' };
    for (let second = 0; second < awaySeconds; second += 1) {
      await this.#advance(1);
      for (const [of] of written.entries())
        this.#write({ kind: 'write', write: 'status', of, home: second, turn: second });
    }
    server.as = as === 'same' ? server.as : as;
    server.running = true;
    this.#announce(this.#servers.indexOf(server));
    // Before any program has asked it again.
    for (const [of] of written.entries()) this.#write({ kind: 'write', write: 'merge', of, home: at, turn: 0 });
    await this.#advance(0.5);
  }

  #announce(at: number): void {
    const server = this.#servers[at];
    if (server === undefined) return;
    const { name, address, as } = server;
    const types = this.#typesOf(as);
    const { groups, openapi } = this.#typed.describe(types, ['apps', 'batch']);
    const hashes = new Map([...openapi].map(([key, document]) => [key, hashText(JSON.stringify(document))]));
    this.#plane.servers.set(address, {
      probe: { kind: 'ready' },
      groups: [...groups],
      version: { version: `v${as[0]}.1`, emulatedVersion: as[1] },
      schemas: { hashes, digest: [...hashes].join() },
      openapi: Object.fromEntries(openapi),
    });
    this.#plane.renew(name, address, `${this.#value}`);
  }

  async #advance(seconds: number): Promise<void> {
    for (const { name, address, running } of this.#servers) if (running) this.#plane.renew(name, address);
    await this.#plane.advance(seconds * 1_000);
  }

  #typesOf([program, emulates]: RunAs): Types {
    return { fields: this.#typed.fields, program, served: emulates ?? program };
  }

  /** Sends a write as a proxy with this home would, and compares the answer with the promises. */
  #write({ write, of, home, turn }: Extract<Step, { kind: 'write' }>): void {
    const what = written[of];
    if (what === undefined) return;
    const { resource, apiVersion, kind, list } = what;
    this.#value += 1;
    const fields = this.#typed.fields.get(resource) ?? [];
    const spec = Object.fromEntries(fields.map(({ name }) => [name, `${this.#value}`]));
    const object = { apiVersion, kind, metadata: { name: 'o' }, spec };
    const path = `${list}/o`;
    const merge = { 'content-type': 'application/merge-patch+json' };
    const send = (method: string, to: string, body?: object, headers = {}) =>
      this.#send(method, to, body, headers, home, turn);
    const answered = () => {
      switch (write) {
        case 'merge':
          return send('PATCH', path, { spec }, merge);
        case 'apply': {
          const headers = { 'content-type': 'application/apply-patch+yaml' };
          return send('PATCH', `${path}?fieldManager=me&force=true`, object, headers);
        }
        case 'replace':
          return send('PUT', path, object);
        case 'status':
          return send('PATCH', `${path}/status`, { status: { seen: `${this.#value}` } }, merge);
        case 'label':
          return send('PATCH', path, { metadata: { labels: { seen: `${this.#value}` } } }, merge);
        case 'put': {
          const read = send('GET', path);
          if (read.code !== 200) return read;
          return send('PUT', path, { ...read.object, spec: { ...(read.object.spec as object), ...spec } });
        }
      }
    };
    const answer = answered();
    this.#judge(what, write, spec, answer);
  }

  #judge({ resource }: (typeof written)[number], write: Write, spec: Record<string, string>, answer: Answered): void {
    const promised = this.#promised.get(resource) ?? new Map<SimulatedField, string>();
    expect([200, 503], `${write} ${resource}: ${JSON.stringify(answer.object)}`).to.include(answer.code);
    if (answer.code === 503) this.#seen.refused += 1;
    else if (write !== 'status' && write !== 'label') {
      this.#seen.confirmed += 1;
      for (const field of this.#typed.fields.get(resource) ?? []) {
        const said = (answer.object.spec as Record<string, string>)[field.name];
        if (said === spec[field.name]) promised.set(field, said ?? '');
        else if (!answer.warned && !this.#isRemoved(field))
          expect(
            this.#knownAcceptors(field),
            `${write} ${resource} dropped ${field.name} without a word`,
          ).to.deep.equal([]);
      }
    }
    for (const field of [...promised.keys()])
      if (this.#isRemoved(field) || !this.#servers.some(({ as }) => knows(this.#typesOf(as), field)))
        promised.delete(field);
    const stored = (this.#typed.get({ resource, namespace: 'x', name: 'o' })?.spec ?? {}) as Record<string, string>;
    for (const [field, value] of promised)
      expect(stored[field.name], `${field.name} of ${resource} after ${write}`).to.equal(value);
  }

  /** If two versions know different fields, the newer one is right, and the status says which fields are lost. */
  #isRemoved({ until }: SimulatedField): boolean {
    return (
      until !== undefined &&
      this.#servers.some(({ as }) => !knows(this.#typesOf(as), { name: '', since: 0, on: 0, until }))
    );
  }

  /** Running servers that accept the field and that the table lists for it. */
  #knownAcceptors(field: SimulatedField): readonly string[] {
    return this.#plane.table.peers.flatMap(({ hostname, state, inDoubt, version, emulatedVersion }) => {
      const server = this.#servers.find(({ name }) => name === hostname);
      if (server === undefined || !server.running || state !== 'Ready' || inDoubt === true) return [];
      const isKnown = version === `v${server.as[0]}.1` && emulatedVersion === server.as[1];
      return isKnown && accepts(this.#typesOf(server.as), field) ? [server.name] : [];
    });
  }

  #send(
    method: string,
    target: string,
    body: unknown,
    headers: Record<string, string>,
    at: number,
    turn: number,
  ): Answered {
    const index = indexTable(this.#plane.table);
    const { peers } = index.table;
    const serverAt = (peer: number) => this.#servers.find(({ name }) => name === peers[peer]?.hostname);
    const usable = (peer: number) => peers[peer]?.state === 'Ready' && serverAt(peer)?.running === true;
    const parsed = parseRequestInfo(method, target);
    if (parsed.kind === 'bad') throw new Error(parsed.message);
    // A proxy replaces a home that is not healthy.
    const wells = peers.flatMap((_, peer) => (usable(peer) ? [peer] : []));
    const wanted = at % peers.length;
    const home = usable(wanted) ? wanted : wells[0];
    const view = { usable, lastResort: () => false, alreadyRouted: false, tableTooOld: false };
    const decision = routeRequest(index, parsed.info, { home, ...view }, { discovery: false });
    const targets = targetsOf(decision, home, wells);
    const server = serverAt(targets[turn % Math.max(1, targets.length)] ?? -1);
    if (server === undefined) return { code: 503, object: {}, warned: false };
    if (decision.kind === 'peer') this.#seen.elsewhere += 1;
    const fields: FieldRoute | undefined =
      decision.kind === 'discovery' || decision.kind === 'unavailable' ? undefined : decision.fields;
    const warned = fields === 'standIn' || fields === 'lossy';
    if (warned) this.#seen.warned += 1;
    const url = new URL(target, 'https://x');
    const user = { name: 'me', groups: [] };
    const request = { method, path: url.pathname, query: url.searchParams, headers, body, user };
    const answer = this.#typed.answer(this.#typesOf(server.as), request);
    if (answer.kind !== 'object') return { code: answer.kind === 'text' ? answer.status : 0, object: {}, warned };
    return { code: answer.status, object: answer.object as Record<string, unknown>, warned };
  }
}

interface Answered {
  readonly code: number;
  readonly object: Readonly<Record<string, unknown>>;
  readonly warned: boolean;
}

function targetsOf(decision: RouteDecision, home: number | undefined, wells: readonly number[]): readonly number[] {
  switch (decision.kind) {
    case 'home':
      return home === undefined ? wells : [home];
    case 'peer':
      return decision.candidates;
    default:
      return [];
  }
}

describe('fields over any history of upgrades, downgrades and restarts', function () {
  this.timeout(300_000);

  it('are kept once confirmed, while some server knows them, and never dropped silently by a write', async () => {
    const seen: Seen = { confirmed: 0, refused: 0, warned: 0, elsewhere: 0 };
    const isEnough = ({ confirmed, refused, warned, elsewhere }: Seen) =>
      confirmed > 50 && Math.min(refused, warned, elsewhere) > 5;
    // A dozen random histories may by chance have too few of an outcome.
    for (let rounds = 0; rounds < 5 && !isEnough(seen); rounds++)
      await fc.assert(
        fc.asyncProperty(histories(), async (history) => new Run(history, seen).play(history.steps)),
        { numRuns: Number(process.env.PEERDISCOVERY_FIELD_HISTORIES ?? 12) },
      );
    expect(isEnough(seen), JSON.stringify(seen)).to.equal(true);
  });
});
