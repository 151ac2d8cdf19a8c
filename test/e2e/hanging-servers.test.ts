import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';

/** An audit policy for the writes of operators. */
const operatorsOnly = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [
    { level: 'None', resources: [{ group: 'authentication.k8s.io' }, { group: 'authorization.k8s.io' }] },
    {
      level: 'Metadata',
      users: ['system:serviceaccount:peerdiscovery-system:peerdiscovery-operator'],
      verbs: ['create', 'update', 'patch', 'delete', 'deletecollection'],
    },
  ],
};

interface AuditEvent {
  readonly user: { readonly uid: string };
  readonly verb: string;
  readonly requestURI: string;
  readonly requestReceivedTimestamp: string;
  readonly responseStatus?: { readonly code: number };
}

/** A write that a server has carried out. */
interface Written {
  /** The `uid` of the operator. */
  readonly operator: string;
  readonly what: string;
  /** The time at which the server received it. */
  readonly at: number;
}

/** Real servers, each with its own etcd member as in a stacked control plane. One of them hangs. */
describe('a control plane with one hanging server', function () {
  this.timeout(240_000);
  let mixed: MixedPlane;

  const folder = mkdtempSync(join(tmpdir(), 'hanging-servers-'));
  const auditLogOf = (name: string) => join(folder, `audit-${name}.log`);

  before(async () => {
    const policy = join(folder, 'policy.json');
    writeFileSync(policy, JSON.stringify(operatorsOnly));
    const audited = (name: string) => ({
      name,
      flags: [`--audit-policy-file=${policy}`, `--audit-log-path=${auditLogOf(name)}`],
    });
    mixed = await startMixedPlane({
      servers: [
        { ...audited('old-1'), version: '1.35', ownEtcd: true },
        { ...audited('new-1'), version: '1.36' },
        { ...audited('new-2'), version: '1.36' },
      ],
      home: 'old-1',
      log: () => {},
    });
  });

  after(async () => {
    await mixed?.stop();
    rmSync(folder, { recursive: true });
  });

  /** The operators' writes in the audit logs of all servers. */
  function writtenByOperators(): readonly Written[] {
    const lines = ['old-1', 'new-1', 'new-2'].flatMap((name) =>
      readFileSync(auditLogOf(name), 'utf8').split('\n').filter(Boolean),
    );
    const events = lines.map((line) => JSON.parse(line) as AuditEvent);
    return events
      .filter(({ responseStatus }) => (responseStatus?.code ?? 500) < 300)
      .map(({ user, verb, requestURI, requestReceivedTimestamp }) => ({
        operator: user.uid,
        what: `${verb} ${requestURI.replace(/\?.*/, '')}`,
        at: Date.parse(requestReceivedTimestamp),
      }))
      .sort((a, b) => a.at - b.at);
  }

  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`${mixed?.plane.logTails(25)}\n`);
  });

  async function codeOf(name: string, path: string): Promise<string> {
    const { plane } = mixed;
    const { url } = plane.server(name);
    const authorization = `Authorization: Bearer ${plane.tokens.admin}`;
    const limits = ['-s', '--max-time', '3', '--cacert', plane.caFile, '-o', '/dev/null', '-w', '%{http_code}'];
    return (await plane.exec('curl', [...limits, '-H', authorization, `${url}${path}`])).stdout;
  }

  it('has a server that accepts requests, answers none and is not ready while its etcd is paused', async () => {
    const old = mixed.plane.server('old-1');
    expect(await codeOf('old-1', '/api/v1/namespaces/default/configmaps')).to.equal('200');
    old.pause('etcd');
    await waitUntil('old-1 to be not ready', async () => (await codeOf('old-1', '/readyz')) !== '200', {
      boundMs: 30_000,
    });
    expect(await codeOf('old-1', '/api/v1/namespaces/default/configmaps/none')).to.equal('000');
    expect(await codeOf('new-1', '/api/v1/namespaces/default/configmaps')).to.equal('200');
    old.resume('etcd');
    await waitUntil('old-1 to be ready', async () => (await codeOf('old-1', '/readyz')) === '200', { boundMs: 60_000 });
  });

  const leases = ['get', 'lease', '-n', 'peerdiscovery-system', '-o', 'json'];

  interface LeaseSpec {
    readonly holderIdentity?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  }

  async function leaseOf(name: string): Promise<LeaseSpec> {
    const { code, stdout } = await mixed.kubectl('new-1', [...leases, name]);
    return code === 0 ? (JSON.parse(stdout) as { spec: LeaseSpec }).spec : {};
  }

  /** The confirmations of a table in order, observed until `times` of them arrived. */
  async function confirmations(times: number, table = 'peerdiscovery-cluster'): Promise<readonly LeaseSpec[]> {
    const seen = new Map<string, LeaseSpec>();
    await waitUntil(
      `${times} confirmations of ${table}`,
      async () => {
        const spec = await leaseOf(table);
        if (spec.renewTime !== undefined) seen.set(spec.renewTime, spec);
        return seen.size >= times;
      },
      { boundMs: 120_000, everyMs: 500 },
    );
    return [...seen.values()];
  }

  /** The longest time between two of `times` confirmations, in seconds. */
  async function longestSilence(times: number): Promise<number> {
    const at = (await confirmations(times)).map(({ renewTime = '' }) => Date.parse(renewTime)).sort((a, b) => a - b);
    return Math.max(...at.slice(1).map((time, index) => (time - (at[index] ?? 0)) / 1_000));
  }

  async function untilThreeAreReady(name = 'cluster'): Promise<void> {
    const count = ['get', 'pd', name, '-o', 'jsonpath={.status.peerCounts.ready}'];
    await waitUntil(`three ready peers of ${name}`, async () => (await mixed.kubectl('new-1', count)).stdout === '3');
  }

  async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    child.kill('SIGCONT');
    await ended;
  }

  type Fault = 'etcd' | 'server' | 'packets';

  async function strike(fault: Fault): Promise<void> {
    if (fault !== 'packets') return mixed.plane.server('old-1').pause(fault);
    const [ip] = mixed.plane.server('old-1').address.split(':');
    const chain = `chain output { type filter hook output priority 0; ip daddr ${ip} tcp dport 6443 drop; };`;
    expect((await mixed.plane.exec('nft', ['-f', '-'], { input: `table inet hang { ${chain} }` })).stderr).to.equal('');
  }

  async function heal(fault: Fault): Promise<void> {
    if (fault === 'packets') await mixed.plane.exec('nft', ['delete', 'table', 'inet', 'hang']);
    else mixed.plane.server('old-1').resume(fault);
    await waitUntil('old-1 to be ready', async () => (await codeOf('old-1', '/readyz')) === '200', { boundMs: 60_000 });
  }

  for (const fault of ['etcd', 'server', 'packets'] as const)
    it(`has an operator that continues to lead and confirm while its API server hangs (${fault})`, async function () {
      const hasNft = () => mixed.plane.exec('nft', ['--version']).then(Boolean, () => false);
      if (fault === 'packets' && !(await hasNft())) this.skip();
      const operator = mixed.startOperator();
      await untilThreeAreReady();
      // Confirmations of an earlier operator do not count.
      await confirmations(2);
      const { leaseTransitions } = await leaseOf('peerdiscovery-operator');
      try {
        await strike(fault);
        const silence = await longestSilence(5);
        process.stdout.write(`      … longest time between two confirmations: ${silence} s\n`);
        // Confirmations arrive every 5 s, and a change of the server takes 2 s.
        expect(silence).to.be.below(12);
        expect((await leaseOf('peerdiscovery-operator')).leaseTransitions).to.equal(leaseTransitions);
        expect(mixed.plane.readLog('operator')).not.to.contain('could not renew the lease in time');
      } finally {
        await heal(fault);
        await end(operator);
      }
    });

  it('has an operator that starts while its API server hangs, through the servers that an earlier one knew', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'known-servers-'));
    const flags = ['--known-servers-file', join(folder, 'servers.json')];
    const earlier = mixed.startOperator(flags);
    await untilThreeAreReady();
    await waitUntil('the servers to be written', async () => existsSync(join(folder, 'servers.json')));
    await confirmations(2);
    await end(earlier);
    let later: ChildProcess | undefined;
    try {
      await strike('server');
      const before = await leaseOf('peerdiscovery-cluster');
      later = mixed.startOperator(flags);
      await waitUntil(
        'the table to be confirmed again',
        async () => (await leaseOf('peerdiscovery-cluster')).holderIdentity !== before.holderIdentity,
        { boundMs: 40_000 },
      );
    } finally {
      await heal('server');
      if (later !== undefined) await end(later);
      rmSync(folder, { recursive: true });
    }
  });

  it('is Unknown to pipelines, with the name of the server that is away, and not Converged until it is back', async () => {
    const operator = mixed.startOperator();
    const get = (path: string) => mixed.kubectl('new-1', ['get', 'pd', 'cluster', '-o', `jsonpath=${path}`]);
    const told = new Set<string>();
    const converged = async () => {
      const { stdout } = await get('{.status.conditions[?(@.type=="Converged")]}');
      const { status, message } = JSON.parse(stdout) as { status: string; message: string };
      told.add(status);
      return `${status}: ${message}`;
    };
    await untilThreeAreReady();
    await waitUntil('a difference', async () => /^False: /.test(await converged()));
    try {
      await strike('server');
      const away = 'Unknown: the operator does not know what every kube-apiserver serves: old-1 is Unreachable';
      await waitUntil('old-1 to be missed', async () => (await converged()) === away, { boundMs: 60_000 });
      const reason = '{.status.peers[?(@.hostname=="old-1")].reason}';
      const abandoned = async () => {
        expect(await converged()).to.equal(away);
        return (await get(reason)).stdout === 'LeaseAbandoned';
      };
      await waitUntil('its Lease to be abandoned', abandoned, { boundMs: 60_000 });
      const { stdout } = await get('{.status.conditions[?(@.type=="Ready")].message}');
      expect(stdout).to.equal(
        'the routing table is complete, though only 2 of 3 peers are ready: old-1 is Unreachable',
      );
    } finally {
      await heal('server');
    }
    await waitUntil('a difference', async () => /^False: /.test(await converged()));
    expect(told).to.not.include('True');
    await end(operator);
  });

  describe('with two operators and two PeerDiscovery objects', () => {
    const tables = ['peerdiscovery-cluster', 'peerdiscovery-second'];
    const operators = new Map<string, ChildProcess>();
    /** Names of operators by their `uid` in the audit logs. */
    const uids = { 'operator-1': 'operator', 'operator-2': 'operator-2' } as const;
    const start = (name: string) => {
      const { plane } = mixed;
      const token = name === 'operator-1' ? plane.tokens.operator : plane.tokens.secondOperator;
      const kubeconfig = plane.kubeconfig({ server: plane.server('old-1').url, token, name });
      operators.set(name, mixed.startOperator(['--health-bind-address', '0', '--kubeconfig', kubeconfig], { name }));
    };
    const holderOf = async () => (await leaseOf('peerdiscovery-operator')).holderIdentity ?? '';
    /** The operator that has an identity. */
    const nameOf = (identity: string) =>
      [...operators.keys()].find((name) => mixed.plane.readLog(name).includes(`identity=${identity}`)) ?? '';

    before(async () => {
      const second = { apiVersion: 'peerdiscovery.dev/v1alpha1', kind: 'PeerDiscovery', metadata: { name: 'second' } };
      await mixed.kubectl('new-1', ['apply', '-f', '-'], JSON.stringify(second));
      start('operator-1');
      start('operator-2');
      await untilThreeAreReady('second');
      for (const table of tables) await confirmations(2, table);
    });

    after(async () => {
      for (const child of operators.values())
        if (child.exitCode === null && child.signalCode === null) await end(child);
      await mixed.kubectl('new-1', ['delete', 'pd', 'second']);
    });

    it('has a standby that takes over while the API server of both hangs', async () => {
      const before = await holderOf();
      const leader = nameOf(before);
      try {
        await strike('server');
        for (const table of tables) await confirmations(2, table);
        expect(await holderOf()).to.equal(before);
        const child = operators.get(leader);
        if (child !== undefined) await end(child, 'SIGKILL');
        await waitUntil('another leader', async () => (await holderOf()) !== before, { boundMs: 30_000 });
        const holder = await holderOf();
        for (const table of tables)
          await waitUntil(`${table} to be confirmed`, async () => (await leaseOf(table)).holderIdentity === holder);
      } finally {
        await heal('server');
        start(leader);
      }
    });

    it('has a leader that writes nothing more after it was stopped and continues', async () => {
      const before = await holderOf();
      const stopped = nameOf(before);
      const leader = operators.get(stopped);
      const uid = uids[stopped as keyof typeof uids];
      // The leader has something to write at any time.
      let changing = true;
      const change = async () => {
        for (let turn = 0; changing; turn += 1) {
          const spec = { mode: turn % 2 === 0 ? 'Observe' : 'Route' };
          await mixed.kubectl('new-1', ['patch', 'pd', 'second', '--type=merge', '-p', JSON.stringify({ spec })]);
        }
      };
      await waitUntil('a standby', async () =>
        [...operators.keys()].every((name) => /waiting for the lease|leading/.test(mixed.plane.readLog(name))),
      );
      const changes = change();
      await confirmations(2);
      leader?.kill('SIGSTOP');
      const stoppedAt = Date.now();
      await waitUntil('another leader', async () => (await holderOf()) !== before, { boundMs: 40_000 });
      const holder = await holderOf();
      for (const table of tables)
        await waitUntil(`${table} to be confirmed`, async () => (await leaseOf(table)).holderIdentity === holder);
      leader?.kill('SIGCONT');
      for (const table of tables)
        expect((await confirmations(3, table)).map(({ holderIdentity }) => holderIdentity)).to.deep.equal([
          holder,
          holder,
          holder,
        ]);
      expect(await holderOf()).to.equal(holder);
      changing = false;
      await changes;
      const written = writtenByOperators();
      const takenOver = written.find(({ operator, at }) => operator !== uid && at >= stoppedAt);
      const ofStopped = written.filter(({ operator }) => operator === uid);
      const late = ofStopped.filter(({ at }) => at >= (takenOver?.at ?? 0));
      process.stdout.write(
        `      … ${ofStopped.length} writes of the leader that was stopped, ${written.length} of both\n`,
      );
      expect(takenOver?.what).to.contain('/leases/peerdiscovery-operator');
      expect(ofStopped.map(({ what }) => what).join()).to.match(/configmaps.*peerdiscoveries\/second\/status/);
      const inWords = late.map(({ what, at }) => `${what}, ${at - (takenOver?.at ?? 0)} ms after the other led`);
      expect(inWords.join('\n')).to.equal('');
    });
  });
});
