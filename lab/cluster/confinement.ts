import type { Machine } from './machine.ts';

/** What the kernel tells about a process and the memory of its control group. */
export interface KernelView {
  /** `/proc/PID/status` */
  readonly status: string;
  /** `/proc/PID/mountinfo` */
  readonly mountinfo: string;
  /** `memory.limit_in_bytes` */
  readonly memoryLimit: string;
}

/** What the memory control group of a container counts. */
export interface MemoryView {
  /** `memory.max_usage_in_bytes` */
  readonly peak: string;
  /** `memory.failcnt`: how often the limit was reached. */
  readonly reached: string;
  /** `memory.oom_control`, which counts killed processes. */
  readonly oomControl: string;
}

/** The parts of a Pod that matter here. */
export interface ConfinedPod {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly nodeName: string;
    readonly securityContext?: { readonly runAsUser?: number; readonly runAsGroup?: number };
    readonly containers: readonly {
      readonly name: string;
      readonly resources?: { readonly limits?: { readonly memory?: string } };
    }[];
  };
  readonly status: {
    readonly podIP?: string;
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly containerID?: string;
      readonly restartCount: number;
    }[];
  };
}

/** The confinement that a manifest promises beyond what every Pod of this project has. */
export interface Promised {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly memoryBytes: number | undefined;
}

/** A container of a Pod. */
export interface Container {
  readonly pod: string;
  /** Its id in containerd. */
  readonly id: string;
  readonly restarts: number;
  readonly promised: Promised;
}

const units: Readonly<Record<string, number>> = { '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 };

/** The containers of a Pod, with what its manifest promises. */
export function containersOf({ metadata, spec, status }: ConfinedPod): readonly Container[] {
  return (status.containerStatuses ?? []).map(({ name, containerID = '', restartCount }) => ({
    pod: metadata.name,
    id: containerID.replace('containerd://', ''),
    restarts: restartCount,
    promised: {
      uid: spec.securityContext?.runAsUser,
      gid: spec.securityContext?.runAsGroup,
      memoryBytes: bytesOf(spec.containers.find((container) => container.name === name)?.resources?.limits?.memory),
    },
  }));
}

/** Undefined without a quantity, or with one whose unit is not a power of 1024. */
function bytesOf(quantity = ''): number | undefined {
  const [, number, unit = ''] = /^(\d+)([KMG]i)?$/.exec(quantity) ?? [];
  const factor = units[unit];
  return number === undefined || factor === undefined ? undefined : Number(number) * factor;
}

/** Describes each point in which a process is less confined than promised. */
export function looseEnds(
  { status, mountinfo, memoryLimit }: KernelView,
  { uid, gid, memoryBytes }: Promised,
): readonly string[] {
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.split(/\s+/) ?? [];
  const want = (name: string, wanted: string) => {
    const values = field(name);
    return values.length > 0 && values.every((value) => value === wanted)
      ? []
      : [`${name} is ${values.join(' ') || 'unknown'}, not ${wanted}`];
  };
  return [
    ...want('Seccomp', '2'),
    ...want('NoNewPrivs', '1'),
    ...['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].flatMap((name) => want(name, '0'.repeat(16))),
    ...(uid === undefined || uid === 0
      ? [`the manifest promises the user ${uid ?? 'of the image'}`]
      : want('Uid', `${uid}`)),
    ...(gid === undefined || gid === 0
      ? [`the manifest promises the group ${gid ?? 'of the image'}`]
      : want('Gid', `${gid}`)),
    ...(isRootReadOnly(mountinfo) ? [] : ['the root file system is writable']),
    ...(memoryBytes === undefined ? ['the manifest promises no limit of memory'] : []),
    ...(Number(memoryLimit) === memoryBytes || memoryBytes === undefined
      ? []
      : [`the limit of memory is ${memoryLimit.trim()}, not ${memoryBytes}`]),
  ];
}

/** Fields 5 and 6 of a line are the place of the mount and its options. The last mount in a place hides the others. */
function isRootReadOnly(mountinfo: string): boolean {
  const mounts = mountinfo.split('\n').map((line) => line.split(' '));
  const options = mounts.findLast(([, , , , place]) => place === '/')?.[5] ?? '';
  return options.split(',').includes('ro');
}

/** Describes how a container left the bounds of its memory since `before`, the number of its restarts then. */
export function memoryTrouble(
  { reached, oomControl }: MemoryView,
  restarts: { before: number; now: number },
): readonly string[] {
  const killed = Number(/^oom_kill (\d+)$/m.exec(oomControl)?.[1] ?? Number.NaN);
  return [
    ...(Number(reached) === 0 ? [] : [`it reached its limit of memory ${reached.trim()} times`]),
    ...(killed === 0 ? [] : [`the kernel killed ${killed} of its processes for their memory`]),
    ...(restarts.now === restarts.before ? [] : [`it restarted ${restarts.now - restarts.before} times`]),
  ];
}

/** Resolves to the numbers of all processes of a container, as its machine sees them. */
export async function processesOf(machine: Machine, { id }: Pick<Container, 'id'>): Promise<readonly number[]> {
  const table = await machine.must(['ctr', 'task', 'ps', id]);
  return table
    .split('\n')
    .map((line) => Number.parseInt(line, 10))
    .filter((pid) => pid > 0);
}

/** Asks the kernel about a process. */
export async function viewProcess(machine: Machine, pid: number): Promise<KernelView> {
  const read = (file: string) => machine.must(['cat', file]);
  return {
    status: await read(`/proc/${pid}/status`),
    mountinfo: await read(`/proc/${pid}/mountinfo`),
    memoryLimit: await read(`${await memoryGroupOf(machine, pid)}/memory.limit_in_bytes`),
  };
}

/** Asks the kernel about the memory of the control group of a process. */
export async function viewMemory(machine: Machine, pid: number): Promise<MemoryView> {
  const folder = await memoryGroupOf(machine, pid);
  const read = (name: string) => machine.must(['cat', `${folder}/memory.${name}`]);
  return {
    peak: await read('max_usage_in_bytes'),
    reached: await read('failcnt'),
    oomControl: await read('oom_control'),
  };
}

/** The folder of the process's memory control group in the machine. */
async function memoryGroupOf(machine: Machine, pid: number): Promise<string> {
  const groups = await machine.must(['cat', `/proc/${pid}/cgroup`]);
  const path = /^\d+:memory:(.*)$/m.exec(groups)?.[1];
  if (path === undefined) throw new Error(`process ${pid} of ${machine.name} has no memory control group`);
  return `/sys/fs/cgroup/memory${path}`;
}
