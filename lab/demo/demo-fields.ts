import { once } from 'node:events';
import type { Minor } from '../build/build-control-plane.ts';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import type { Narrator } from './narrator.ts';

/** Fields of a Pod template that 1.36 knows and an older version does not. */
export interface NewFields {
  readonly version: Minor;
  readonly pod: object;
  readonly container?: object;
  /** The kubectl columns of these fields. A column is `<none>` if its field is gone. */
  readonly columns: string;
  /** A regular expression that finds the lines of these fields in YAML. */
  readonly lines: string;
}

const pod = '.spec.template.spec';

/** New fields, by the version that lacks them. Those that 1.35 lacks are behind the gate GenericWorkload. */
export const newFields: Readonly<Record<'1.35' | '1.33', NewFields>> = {
  '1.35': {
    version: '1.35',
    pod: { schedulingGroup: { podGroupName: 'together' } },
    columns: `PODGROUP:${pod}.schedulingGroup.podGroupName`,
    lines: 'podGroupName',
  },
  '1.33': {
    version: '1.33',
    pod: { hostnameOverride: 'web.example.com' },
    container: {
      restartPolicy: 'Never',
      restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }],
    },
    columns: `HOSTNAME:${pod}.hostnameOverride,RULES:${pod}.containers[0].restartPolicyRules[*].action`,
    lines: 'hostnameOverride|restartPolicyRules',
  },
};

/** A Deployment with these fields. */
export function deploymentWith(fields: NewFields, name: string): object {
  const containers = [{ name: 'web', image: 'registry.k8s.io/pause', ...fields.container }];
  const matchLabels = { app: name };
  const template = { metadata: { labels: matchLabels }, spec: { ...fields.pod, containers } };
  const metadata = { name, namespace: 'default' };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { selector: { matchLabels }, template } };
}

/** The Deployment after a kube-controller-manager has updated its status. */
export interface StatusUpdate {
  /** True if the object still has its new fields. */
  readonly kept: boolean;
  /** True if its `last-applied-configuration` has them. */
  readonly applied: boolean;
}

/** Applies a Deployment at a new server. Then an old kube-controller-manager that uses `target` updates its status. */
export async function updateStatusOfDeployment(
  mixed: Pick<MixedPlane, 'kubectl' | 'startControllerManager'>,
  fields: NewFields,
  { target, name, narrator }: Record<'target' | 'name', string> & { readonly narrator: Narrator },
): Promise<StatusUpdate> {
  const { show, output } = narrator;
  const witness = 'new-1';
  await show(mixed, witness, ['apply', '-f', '-'], { input: JSON.stringify(deploymentWith(fields, name)) });
  const manager = mixed.startControllerManager(target, undefined, fields.version);
  try {
    await waitUntil('the controller manager to update the status', async () => {
      const { stdout } = await mixed.kubectl(witness, ['get', 'deployment', name, '-o', 'json']);
      const object = stdout === '' ? {} : (JSON.parse(stdout) as { status?: { conditions?: unknown } });
      return object.status?.conditions !== undefined;
    });
  } finally {
    const ended = once(manager, 'exit');
    if (manager.exitCode === null && manager.kill('SIGTERM')) await ended;
  }
  const columns = `NAME:.metadata.name,${fields.columns}`;
  const found = await show(mixed, witness, ['get', 'deployment', name, '-o', `custom-columns=${columns}`]);
  const view = ['apply', 'view-last-applied', `deployment/${name}`];
  const applied = (await mixed.kubectl(witness, view)).stdout
    .split('\n')
    .filter((line) => new RegExp(fields.lines).test(line))
    .join('\n');
  output(`kubectl --kubeconfig $LAB/${witness}.kubeconfig ${view.join(' ')} | grep -E '${fields.lines}'`, applied);
  return { kept: found.code === 0 && !found.stdout.includes('<none>'), applied: applied !== '' };
}

/** Shows that an old server drops fields that it does not know, and that the proxy keeps them. */
export async function tellFieldLoss(mixed: MixedPlane, narrator: Narrator): Promise<void> {
  const { say, chapter, check } = narrator;
  const fields = newFields['1.35'];
  chapter('9. Damage without a 404: old-1 now runs 1.35 and serves Deployments too, but knows fewer fields than 1.36');
  await mixed.plane.server('old-1').stop();
  await mixed.plane.server('old-1').startAs({ version: fields.version });
  say('   A client applies a Deployment with schedulingGroup, which only 1.36 knows, at a new server. Then a');
  say('   kube-controller-manager of 1.35 updates its status at old-1, which is its own server.\n');
  const direct = await updateStatusOfDeployment(mixed, fields, { target: 'old-1', name: 'lost', narrator });
  check(
    !direct.kept && direct.applied,
    'the damage: the field is gone, although the client that applied it got a success',
  );
  say('   The old server decoded the object into its own types, which drop unknown fields, and wrote it back.');

  chapter('10. The same again, but the kubeconfig of kube-controller-manager names the proxy');
  await waitUntil('the proxy to learn which server knows which fields', async () => {
    const create = ['create', '--dry-run=server', '-o', 'json', '--validate=false', '-f', '-'];
    const { stdout } = await mixed.kubectl('proxy', create, JSON.stringify(deploymentWith(fields, 'probe')));
    return stdout.includes(fields.lines);
  });
  const through = await updateStatusOfDeployment(mixed, fields, { target: 'proxy', name: 'kept', narrator });
  check(
    through.kept && through.applied,
    'a server that knows every field updated the status, and the field is still there',
  );
}
