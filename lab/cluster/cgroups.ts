import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { clusterShares } from './cpu-shares.ts';

const mount = '/sys/fs/cgroup';
const hierarchies = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids', 'systemd'];

/** Throws if this machine lacks control groups of version 1, which the cluster's machines need. */
export function requireCgroups(): void {
  const missing = hierarchies.filter((name) => !existsSync(join(mount, name, 'cgroup.procs')));
  if (missing.length === 0) return;
  throw new Error(
    `the control groups ${missing.join(', ')} are not mounted at ${mount}: the machines of the cluster need version 1 of ` +
      'control groups (boot with systemd.unified_cgroup_hierarchy=0)',
  );
}

/** The control groups of one machine, one in each hierarchy. */
export function cgroupsOf(group: string, machine: string): readonly string[] {
  return hierarchies.map((name) => join(mount, name, group, machine));
}

/** Creates the control groups of a machine. */
export function makeCgroups(group: string, machine: string): void {
  for (const folder of cgroupsOf(group, machine)) {
    mkdirSync(folder, { recursive: true });
    if (!folder.startsWith(join(mount, 'cpuset/'))) continue;
    // A new cpuset is empty, and no process may enter it until it has CPUs and memory nodes.
    for (const child of [dirname(folder), folder])
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        writeFileSync(join(child, file), readFileSync(join(dirname(child), file)));
  }
  writeFileSync(join(mount, 'cpu', group, 'cpu.shares'), String(clusterShares));
}

/** Removes all control groups of a cluster whose processes have ended. Returns true when none is left. */
export function removeCgroups(group: string): boolean {
  return hierarchies.map((name) => removeTree(join(mount, name, group))).every(Boolean);
}

function removeTree(folder: string): boolean {
  if (!existsSync(folder)) return true;
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
