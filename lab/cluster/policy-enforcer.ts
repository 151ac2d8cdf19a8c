import { join } from 'node:path';
import type { Machine } from './machine.ts';

/** kubeadm's default. */
const serviceNetwork = '10.96.0.0/12';
const flags = [
  '--run-firewall=true',
  '--run-router=false',
  '--run-service-proxy=false',
  '--kubeconfig=/etc/kubernetes/admin.conf',
  `--service-cluster-ip-range=${serviceNetwork}`,
  '--iptables-sync-period=5s',
  '--health-port=0',
  '--v=1',
];

/** kube-router's controller of NetworkPolicies on all machines. */
export interface PolicyEnforcer {
  /** Ends it, and removes all its rules. */
  stop(): Promise<void>;
}

/** Starts kube-router on all machines, which then enforces NetworkPolicies and does nothing else. */
export async function startPolicyEnforcer(machines: readonly Machine[], folder: string): Promise<PolicyEnforcer> {
  const running: { readonly machine: Machine; readonly pid: string }[] = [];
  for (const machine of machines) {
    const command = [join(folder, 'kube-router'), ...flags, `--hostname-override=${machine.name}`].join(' ');
    const log = join(machine.folder, 'log', 'kube-router.log');
    const pid = await machine.must(['sh', '-c', `setsid ${command} >>${log} 2>&1 </dev/null & echo $!`]);
    running.push({ machine, pid: pid.trim() });
  }
  return {
    stop: async () => {
      for (const { machine, pid } of running) {
        await machine.run(['kill', pid]);
        await machine.must(['sh', '-c', `while [ -e /proc/${pid} ]; do sleep 0.1; done`]);
        await machine.must(['sh', '-ec', removal]);
      }
    },
  };
}

/**
 * Removes kube-router's chains and sets, and no other rule, in one transaction. `kube-router --cleanup-config` of this
 * version removes nothing: `Cleanup` in `network_policy_controller.go` loops over maps that are never filled.
 */
const removal = `
iptables-save -t filter | awk '
  BEGIN { print "*filter" }
  /^:KUBE-(ROUTER|POD-FW|NWPLCY)/ { name = substr($1, 2); print ":" name " - [0:0]"; chains[name] }
  /^-A (INPUT|FORWARD|OUTPUT) .*-j KUBE-ROUTER-/ { sub("^-A", "-D"); print }
  END { for (name in chains) print "-X " name; print "COMMIT" }
' | iptables-restore --noflush
ipset list -name | grep -E '^KUBE-(SRC|DST)-' | while read -r name; do ipset destroy "$name"; done
`;
