import { waitUntil } from '../wait-until.ts';
import type { ConfinedPod } from './confinement.ts';
import type { Machine } from './machine.ts';
import { firstProcess, placedPods } from './placed-pods.ts';
import type { Attempt, Phase } from './reach.ts';
import { toolNamespace, toolPort } from './workloads.ts';

/** The operator and the proxies in Pods of their own network, to which NetworkPolicies apply. */
const policed = 'app.kubernetes.io/component in (operator,proxy)';
/** The ports that the NetworkPolicies allow for every Pod with this label. */
const allowedPorts: Readonly<Record<string, readonly number[]>> = { operator: [8080, 8443], proxy: [6443, 8081] };
/** A port that no NetworkPolicy of this project allows. */
const otherPort = 9_999;
const clusterDns = '10.96.0.10';
const enforceBoundMs = 90_000;

const policedPods = (machines: readonly Machine[]) => placedPods(machines, ['peerdiscovery-system'], policed);
const toolPods = (machines: readonly Machine[]) => placedPods(machines, [toolNamespace], 'app=tool');

/** A program that listens in the network of a Pod. */
export interface Listener {
  readonly machine: Machine;
  readonly pid: string;
}

/** Accepts connections at a port, and echoes datagrams. */
const listenScript = `
require('net').createServer((s)=>s.on('error',()=>{}).end('x')).listen(${otherPort});
const u=require('dgram').createSocket('udp4');
u.on('message',(m,r)=>u.send(m,r.port,r.address)).bind(${otherPort});
process.on('uncaughtException',()=>process.exit(1));
`;

/** Starts a listener at the other port in each Pod that has none. */
export async function listenInPods(machines: readonly Machine[]): Promise<readonly Listener[]> {
  const listeners: Listener[] = [];
  for (const { pod, machine } of [...(await policedPods(machines)), ...(await toolPods(machines))]) {
    const pid = await firstProcess(machine, pod);
    const isListening = async () =>
      (await machine.must(['nsenter', '-t', String(pid), '-n', 'ss', '-Hltn', `sport = :${otherPort}`])) !== '';
    if (await isListening()) continue;
    const command = `setsid nsenter -t ${pid} -n "$0" -e "$1" >/dev/null 2>&1 </dev/null & echo $!`;
    const started = await machine.must(['sh', '-c', command, process.execPath, listenScript]);
    listeners.push({ machine, pid: started.trim() });
    await waitUntil(`a listener in ${pod.metadata.name}`, isListening, { boundMs: 30_000, everyMs: 200 });
  }
  return listeners;
}

/** Something to reach: an address and a port. */
interface Target {
  readonly kind: 'tcp' | 'udp' | 'dns';
  readonly host: string;
  readonly port: number;
}

/** Tries all targets at once, and prints for each whether it was reached. */
const reachScript = `
const boundMs=4000,[,targets]=process.argv;
const tcp=({host,port})=>new Promise((done)=>{
  const s=require('net').connect({host,port,timeout:boundMs});
  s.once('connect',()=>{s.destroy();done(true)});
  for(const e of ['error','timeout'])s.once(e,()=>{s.destroy();done(false)});
});
const udp=({host,port})=>new Promise((done)=>{
  const u=require('dgram').createSocket('udp4');
  const end=(is)=>{clearInterval(again);clearTimeout(late);u.close();done(is)};
  const again=setInterval(()=>u.send('x',port,host,()=>{}),500);
  const late=setTimeout(()=>end(false),boundMs);
  u.on('error',()=>{}).once('message',()=>end(true));
});
const dns=({host})=>{
  const r=new (require('dns').promises.Resolver)({timeout:1500,tries:2});
  r.setServers([host]);
  return r.resolve4('kubernetes.default.svc.cluster.local').then(()=>true,()=>false);
};
Promise.all(JSON.parse(targets).map((t)=>({tcp,udp,dns})[t.kind](t))).then((r)=>console.log(JSON.stringify(r)));
`;

/** Tries to reach the policed Pods from a Pod on each machine, and other Pods from the policed ones. */
export async function reach(machines: readonly Machine[], phase: Phase): Promise<readonly Attempt[]> {
  const guarded = await policedPods(machines);
  const tools = await toolPods(machines);
  const into = guarded.flatMap(({ pod }) => {
    const component = pod.metadata.labels?.['app.kubernetes.io/component'] ?? '';
    return [...(allowedPorts[component] ?? []), otherPort].map((port) => ({
      pod,
      port,
      isAllowed: port !== otherPort,
    }));
  });
  const attempts: Attempt[] = [];
  for (const { pod: tool, machine } of tools) {
    const targets = into.map(({ pod, port }): Target => ({ kind: 'tcp', host: pod.status.podIP ?? '', port }));
    const results = await reachFrom(machine, tool, targets);
    for (const [index, { pod, port, isAllowed }] of into.entries())
      attempts.push({
        phase,
        what: `${tool.metadata.name} on ${machine.name} to port ${port} of ${pod.metadata.name} on ${pod.spec.nodeName}`,
        isAllowed,
        hasReached: results[index] === true,
      });
  }
  for (const { pod, machine } of guarded) {
    const out = tools.flatMap(({ pod: tool }): readonly (readonly [Target, boolean])[] => {
      const host = tool.status.podIP ?? '';
      return [
        [{ kind: 'tcp', host, port: toolPort }, true],
        [{ kind: 'udp', host, port: otherPort }, false],
      ];
    });
    const all: readonly (readonly [Target, boolean])[] = [[{ kind: 'dns', host: clusterDns, port: 53 }, true], ...out];
    const results = await reachFrom(
      machine,
      pod,
      all.map(([target]) => target),
    );
    for (const [index, [{ kind, host, port }, isAllowed]] of all.entries())
      attempts.push({
        phase,
        what: `${pod.metadata.name} on ${machine.name} to ${kind} port ${port} of ${host}`,
        isAllowed,
        hasReached: results[index] === true,
      });
  }
  return attempts;
}

/** Runs the script in the network of a Pod. */
async function reachFrom(machine: Machine, pod: ConfinedPod, targets: readonly Target[]): Promise<readonly boolean[]> {
  const pid = await firstProcess(machine, pod);
  const command = ['nsenter', '-t', String(pid), '-n', process.execPath, '-e', reachScript, JSON.stringify(targets)];
  return JSON.parse(await machine.must(command)) as readonly boolean[];
}

/** Resolves when the policies shut the other port of every policed Pod; after a time it resolves anyway. */
export async function waitForPolicies(machines: readonly Machine[]): Promise<void> {
  const [tool] = await toolPods(machines);
  const targets = (await policedPods(machines)).map(
    ({ pod }): Target => ({ kind: 'tcp', host: pod.status.podIP ?? '', port: otherPort }),
  );
  const isShut = async () => tool !== undefined && !(await reachFrom(tool.machine, tool.pod, targets)).includes(true);
  await waitUntil('enforced policies', isShut, { boundMs: enforceBoundMs, everyMs: 1_000 }).catch(() => {});
}
