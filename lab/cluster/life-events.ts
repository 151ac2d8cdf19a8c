import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { localImage } from '../../scripts/build-image.ts';
import { parseDuration } from '../../src/api/duration.ts';
import { waitUntil } from '../wait-until.ts';
import { rotateClusterCa, rotateFrontProxyCa } from './ca-rotation.ts';
import { type Credentials, createClient, type Way } from './clients.ts';
import { confine } from './confined-event.ts';
import { renewFrontProxySecret } from './front-proxy-secret.ts';
import { loadImages } from './install-product.ts';
import { joinControlPlane } from './kubeadm.ts';
import { type Health, type LifeEvent, type Off, type Outcome, waitUntilRight } from './life.ts';
import type { LifeCluster } from './life-cluster.ts';
import { readCredentials, waysOf } from './load.ts';
import { type Machine, startMachine } from './machine.ts';
import { removeProduct } from './remove-product.ts';

const system = 'peerdiscovery-system';
const proxies = 'peerdiscovery-front-proxy';
const imageName = 'localhost/peerdiscovery';
/** Longer than a Node stays Ready after its machine has lost power. */
const powerlessMs = 60_000;
const networkCutMs = 20_000;
/** Longer than a proxy waits before it reports that no operator confirms the status. */
const withoutOperatorMs = 90_000;

/** All events, in the order in which they happen. */
export function lifeEvents(cluster: LifeCluster): readonly LifeEvent[] {
  return [
    {
      id: 'nothing',
      name: 'nothing',
      does: 'Nothing happens for 20 s.',
      run: async () => {
        await setTimeout(20_000);
        return {};
      },
    },
    {
      id: 'drain',
      name: 'drain',
      does: '`kubectl drain --ignore-daemonsets --delete-emptydir-data` drains a machine, which is then uncordoned.',
      run: () => drain(cluster),
    },
    {
      id: 'certificates',
      name: 'certificates renewed',
      does: 'On each machine in turn, `kubeadm certs renew all` runs; then moving the manifests of its static Pods away and back restarts them. At the end, the proxies get the new front-proxy client certificate, as docs/guides/certificates.md says.',
      run: () => renewCertificates(cluster),
    },
    {
      id: 'power',
      name: 'power cut',
      does: `A machine loses network and power, and is switched on again after ${powerlessMs / 1_000} s with its disk.`,
      run: () => cutPower(cluster),
    },
    {
      id: 'network',
      name: 'Pod network cut',
      does: `The other machines cannot reach the Pods of one machine for ${networkCutMs / 1_000} s.`,
      run: () => cutPodNetwork(cluster),
    },
    {
      id: 'confined',
      name: 'NetworkPolicies enforced',
      does: 'The kernel is asked how confined each container of PeerDiscovery is. Proxies in Pods of their own network join. kube-router enforces the NetworkPolicies of `config/`, then many large answers go through each proxy, and the operators are replaced one by one. Then kube-router and its rules go.',
      run: () => confine(cluster),
    },
    {
      id: 'upgrade',
      name: 'PeerDiscovery upgraded',
      does: '`kubectl apply` sets another image tag, as docs/guides/upgrade.md says; Kubernetes replaces operators and proxies one by one.',
      run: () => upgradeProduct(cluster),
    },
    {
      id: 'operator',
      name: 'operator removed',
      does: `\`kubectl delete\` removes the operator’s Deployment. After ${withoutOperatorMs / 1_000} s it is applied again.`,
      run: () => removeOperator(cluster),
    },
    {
      id: 'removed',
      name: 'PeerDiscovery removed',
      does: 'kube-controller-manager uses the proxies, then goes back, as docs/guides/clients.md says. The commands of docs/guides/rollback-uninstall.md remove PeerDiscovery. A namespace is created and deleted without it. Then it is installed again, and clients get the new CA of the proxies.',
      run: () => removeProduct(cluster),
    },
    {
      id: 'fourth',
      name: 'a fourth machine joins and leaves',
      does: 'A fourth control-plane machine joins by kubeadm. When its server is in the table and its proxy answers, it leaves for good: it is drained, `kubeadm reset` runs, and its Node and its server’s Lease are deleted.',
      run: () => joinAndLeave(cluster),
    },
    {
      id: 'front-proxy-ca',
      name: 'front-proxy CA rotated',
      does: 'The commands of docs/guides/ca-rotation.md run: all servers trust the old and the new CA, then the new one signs, then all forget the old one. Nothing restarts.',
      run: () => rotateFrontProxyCa(cluster),
    },
    {
      id: 'cluster-ca',
      name: 'cluster CA rotated',
      does: 'The commands of docs/guides/ca-rotation.md run, in the same three rounds. One machine after the other, the first and the last round restart kube-controller-manager and the kubelet, and the second one all static Pods but etcd. Clients get new credentials after each round.',
      run: () => rotateClusterCa(cluster),
    },
  ];
}

/** Everything that must be healthy: servers, Nodes, Pods of PeerDiscovery, and the conditions of the PeerDiscovery. */
export function healthOf(machines: readonly Machine[]): Health {
  const first = machines[0] as Machine;
  const ask = async (...args: string[]) => {
    const { code, stdout } = await first.run(['kubectl', '--request-timeout=3s', ...args]);
    return code === 0 ? stdout : undefined;
  };
  const ready = `{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}`;
  const notReady = async (...what: string[]) => {
    const lines = (await ask('get', ...what, '-o', `jsonpath=${ready}`))?.trim().split('\n') ?? ['none is known'];
    return lines.filter((line) => !line.endsWith(' True'));
  };
  return {
    ask: async () => {
      for (const { name, address } of machines)
        if ((await ask('-s', `https://${address}:6443`, 'get', '--raw', '/readyz')) === undefined)
          return `the server of ${name} is not ready`;
      const wrong = [
        ...(await notReady('nodes')),
        ...(await notReady('pods', '-n', system)),
        ...(await notReady('pods', '-n', proxies)),
      ];
      if (wrong.length > 0) return `not Ready: ${wrong.join(', ')}`;
      const said = `jsonpath= {.status.peerCounts.ready}{range .status.conditions[*]} {.type}={.status}{end}`;
      const status = (await ask('get', 'peerdiscovery', 'cluster', '-o', said)) ?? ' unknown';
      const wanted = [' Ready=True', ' Converged=True', ` ${machines.length} `];
      return wanted.every((part) => status.includes(part)) ? undefined : `PeerDiscovery:${status}`;
    },
  };
}

async function drain({ machines }: LifeCluster): Promise<Outcome> {
  const machine = await machineOfLeader(machines);
  const other = anotherThan(machine, machines);
  const broken = new Set<string>();
  const over = new AbortController();
  const watching = watchBudgets(other, over.signal, (line) => broken.add(line));
  try {
    const flags = ['--ignore-daemonsets', '--delete-emptydir-data', '--timeout=180s'];
    await other.must(['kubectl', 'drain', machine.name, ...flags], { log: 'drain.log' });
  } finally {
    over.abort();
    await watching;
    await other.must(['kubectl', 'uncordon', machine.name]);
  }
  const problems = [...broken].map((line) => `a PodDisruptionBudget was broken: ${line}`);
  return { problems, notes: [`It was ${machine.name}, on which the leading operator ran.`] };
}

/** Polls all PodDisruptionBudgets, and reports those with too few healthy Pods. */
async function watchBudgets(machine: Machine, signal: AbortSignal, onBroken: (line: string) => void): Promise<void> {
  const columns = `{range .items[*]}{.metadata.name} {.status.currentHealthy} {.status.desiredHealthy}{"\\n"}{end}`;
  while (!signal.aborted) {
    const { stdout } = await machine.run(['kubectl', 'get', 'pdb', '-A', '-o', `jsonpath=${columns}`]);
    for (const line of stdout.trim().split('\n')) {
      const [name, healthy, desired] = line.split(' ');
      if (Number(healthy) < Number(desired)) onBroken(`${name} had ${healthy} healthy Pods of ${desired}`);
    }
    await setTimeout(1_000);
  }
}

async function renewCertificates({ machines, health }: LifeCluster): Promise<Outcome> {
  for (const machine of machines) {
    await machine.must(['kubeadm', 'certs', 'renew', 'all'], { log: 'certs.log' });
    await restartStaticPods(machine);
    const { at, missing } = await waitUntilRight(health);
    if (at === undefined) return { problems: [`after ${machine.name}: ${missing}`] };
  }
  await renewFrontProxySecret(machines);
  return {};
}

/** As kubeadm's documentation says: the kubelet stops a static Pod when its manifest is gone. */
async function restartStaticPods(machine: Machine): Promise<void> {
  const [manifests, away] = ['/etc/kubernetes/manifests', '/etc/kubernetes/manifests.away'];
  await machine.must(['sh', '-ec', `mkdir -p ${away}; mv ${manifests}/*.yaml ${away}`]);
  const programs = 'etcd|kube-apiserver|kube-controller|kube-scheduler';
  await waitUntil(
    `the end of ${machine.name}'s static Pods`,
    async () => (await machine.run(['pgrep', '-x', programs])).code === 1,
    {
      boundMs: 120_000,
      everyMs: 1_000,
    },
  );
  await machine.must(['sh', '-ec', `mv ${away}/*.yaml ${manifests}`]);
}

async function cutPower({ machines }: LifeCluster): Promise<Outcome> {
  const machine = await machineOfLeader(machines);
  const credentials = await readCredentials(machine);
  const from = Date.now();
  await machine.cutPower();
  await setTimeout(powerlessMs);
  await machine.powerOn();
  const ways = waysOf([machine]);
  for (const way of ways) await waitForAnswer(way, credentials);
  const to = Date.now();
  const took = ((to - from - powerlessMs) / 1_000).toFixed(0);
  const notes = [
    `It was ${machine.name}, on which the leading operator ran. Its server and proxy answered ${took} s after power was back.`,
    'Its disk is in memory, so it loses no data, synced or not.',
  ];
  return { offs: ways.map(({ name }): Off => ({ way: name, from, to, excuses: 'all' })), notes };
}

/** Resolves when an endpoint answers a read with 200. Each try uses a new connection. */
async function waitForAnswer(way: Way, credentials: Credentials): Promise<void> {
  let last = '';
  const answers = async () => {
    const client = createClient(way, credentials);
    const { status, error } = await client.send('GET', '/api/v1/namespaces', undefined, 3_000);
    client.close();
    last = `${status} ${error ?? ''}`;
    return status === 200;
  };
  await waitUntil(`an answer over ${way.name}`, answers, { boundMs: 300_000, everyMs: 1_000, seen: () => last });
}

async function cutPodNetwork({ machines }: LifeCluster): Promise<Outcome> {
  const machine = await machineOfLeader(machines);
  const others = machines.filter((other) => other !== machine);
  const network = `10.244.${machine.name.slice(1)}.0/24`;
  for (const other of others) await other.must(['ip', 'route', 'replace', 'blackhole', network]);
  await setTimeout(networkCutMs);
  for (const other of others) await other.must(['ip', 'route', 'replace', network, 'via', machine.address]);
  return { notes: [`It was ${machine.name}, on which the leading operator ran.`] };
}

/** The same image under the tag that PeerDiscovery is upgraded to. */
const nextTag = 'next';

async function upgradeProduct({ machines }: LifeCluster): Promise<Outcome> {
  const [first] = machines;
  for (const machine of machines) await tagNext(machine);
  const from = Date.now();
  await applyProduct(first, ['images:', `  - name: ${imageName}`, `    newTag: ${nextTag}`]);
  const to = Date.now();
  return { offs: machines.map(({ name }): Off => ({ way: `${name}, proxy`, from, to, excuses: 'refused' })) };
}

async function tagNext(machine: Machine): Promise<void> {
  await machine.must(['ctr', 'images', 'tag', '--force', localImage(), `${imageName}:${nextTag}`]);
}

/** Applies the manifests as in the installation, with more lines of kustomization. Resolves when all is rolled out. */
async function applyProduct(machine: Machine, more: readonly string[]): Promise<void> {
  const folder = join(machine.folder, 'deploy');
  const file = join(folder, 'kustomization.yaml');
  const [installed = ''] = readFileSync(file, 'utf8').split('images:');
  writeFileSync(file, [installed.trimEnd(), ...more, ''].join('\n'));
  const kubectl = (...args: string[]) => machine.must(['kubectl', ...args], { log: 'install.log' });
  await kubectl('apply', '--server-side', '-k', join(machine.folder, 'peerdiscovery', 'crds'));
  await kubectl('apply', '--server-side', '-k', folder);
  await kubectl('-n', system, 'rollout', 'status', 'deployment/peerdiscovery-operator', '--timeout=5m');
  await kubectl('-n', proxies, 'rollout', 'status', 'daemonset/peerdiscovery-front-proxy', '--timeout=5m');
}

async function removeOperator({ machines: [first] }: LifeCluster): Promise<Outcome> {
  await first.must(['kubectl', 'delete', 'deployment', '-n', system, 'peerdiscovery-operator']);
  await setTimeout(withoutOperatorMs);
  const path = 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}';
  const reason = await first.must(['kubectl', 'get', 'peerdiscovery', 'cluster', '-o', path]);
  await first.must(['kubectl', 'apply', '--server-side', '-k', join(first.folder, 'deploy')]);
  const rollout = ['rollout', 'status', 'deployment/peerdiscovery-operator', '--timeout=5m'];
  await first.must(['kubectl', '-n', system, ...rollout]);
  const problems = reason === 'OperatorSilent' ? [] : [`without an operator, the reason of Ready was ${reason}`];
  return { problems, notes: [`Without an operator, the condition \`Ready\` had the reason \`${reason}\`.`] };
}

async function joinAndLeave({ plan, machines }: LifeCluster): Promise<Outcome> {
  const [first] = machines;
  const { root, group, containerd, from: release, product } = plan;
  const fourth = await startMachine({ number: 4, root, group, containerd });
  fourth.use(release.node.folder, ['kubeadm', 'kubelet', 'kubectl']);
  await loadImages(fourth, [...release.images, product]);
  await tagNext(fourth);
  const joinedFrom = Date.now();
  await joinControlPlane(fourth);
  const joined = await waitUntilRight(healthOf([...machines, fourth]));
  if (joined.at === undefined) return { problems: [`the fourth machine did not become healthy: ${joined.missing}`] };
  const joinSeconds = ((joined.at - joinedFrom) / 1_000).toFixed(0);
  for (const way of waysOf([fourth])) await waitForAnswer(way, await readCredentials(first));
  await first.must([
    'kubectl',
    'drain',
    fourth.name,
    '--ignore-daemonsets',
    '--delete-emptydir-data',
    '--timeout=180s',
  ]);
  await fourth.must(['kubeadm', 'reset', '--force'], { log: 'kubeadm.log' });
  await first.must(['kubectl', 'delete', 'node', fourth.name]);
  await fourth.cutPower();
  await first.must(['kubectl', 'delete', 'lease', '-n', 'kube-system', '-l', `kubernetes.io/hostname=${fourth.name}`]);
  // Until goneAfter has passed, the operator cannot tell a server that left from one that is cut off.
  const path = 'jsonpath={.spec.goneAfter}';
  const allowedMs = parseDuration(await first.must(['kubectl', 'get', 'peerdiscovery', 'cluster', '-o', path]));
  return {
    notes: [`With four machines, the cluster was healthy ${joinSeconds} s after the start of \`kubeadm join\`.`],
    allowedMs,
  };
}

/** The machine of the leading operator. Its loss has the largest effect. */
async function machineOfLeader(machines: readonly Machine[]): Promise<Machine> {
  const [first] = machines;
  if (first === undefined) throw new Error('a cluster has machines');
  const lease = ['get', 'lease', '-n', system, 'peerdiscovery-operator', '-o', 'jsonpath={.spec.holderIdentity}'];
  const [pod = ''] = (await first.must(['kubectl', ...lease])).split('_');
  const node = await first.must(['kubectl', 'get', 'pod', '-n', system, pod, '-o', 'jsonpath={.spec.nodeName}']);
  return machines.find(({ name }) => name === node) ?? first;
}

function anotherThan(machine: Machine, machines: readonly Machine[]): Machine {
  return machines.find((other) => other !== machine) ?? machine;
}
