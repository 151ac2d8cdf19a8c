import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { V1DaemonSet, V1Deployment, V1Role } from '@kubernetes/client-node';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { parseDuration } from '../../src/api/duration.ts';
import { parseOperatorFlags } from '../../src/flags/operator-flags.ts';
import { parseProxyFlags } from '../../src/flags/proxy-flags.ts';
import { worstCaseBytes } from '../../src/proxy/limits.ts';

const config = fileURLToPath(new URL('../../config', import.meta.url));
const documents = readdirSync(config, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.yaml'))
  .flatMap((name) =>
    parseAllDocuments(readFileSync(join(config, name), 'utf8')).map((one) => ({ name, object: one.toJS() })),
  );
const workloads = documents
  .filter(({ name }) => /\/(deployment|daemonset)\.yaml$/.test(name))
  .map(({ object }) => object as V1Deployment | V1DaemonSet);
const podOf = (workload: V1Deployment | V1DaemonSet) => workload.spec?.template.spec;

describe('the manifests', () => {
  it('cover operator, proxy and front proxy', () => {
    expect(workloads.map(({ metadata }) => metadata?.name)).to.have.members([
      'peerdiscovery-operator',
      'peerdiscovery-proxy',
      'peerdiscovery-front-proxy',
    ]);
  });

  for (const workload of workloads)
    it(`give ${workload.metadata?.name} flags that it knows, and time to end before it is killed`, () => {
      const pod = podOf(workload);
      const values: Readonly<Record<string, string>> = { POD_IP: '192.0.2.1', HOST_IP: '192.0.2.2' };
      const args = (pod?.containers[0]?.args ?? []).map((arg) =>
        arg.replace(/\$\((\w+)\)/g, (_, name: string) => values[name] ?? ''),
      );
      const [command, ...flags] = args;
      const graceMs = (pod?.terminationGracePeriodSeconds ?? 0) * 1_000;
      if (command === 'operator') {
        expect(parseOperatorFlags(flags).kind).to.equal('flags');
        expect(graceMs).to.be.at.least(30_000);
        return;
      }
      const parsed = parseProxyFlags(flags);
      expect(parsed, JSON.stringify(parsed)).to.have.property('kind', 'flags');
      const given = (name: string, byDefault: string) =>
        parseDuration(flags.find((flag) => flag.startsWith(`--${name}=`))?.split('=')[1] ?? byDefault);
      const drainMs =
        given('shutdown-delay-duration', '0s') +
        given('shutdown-watch-termination-grace-period', '5s') +
        given('shutdown-timeout', '30s');
      expect(graceMs).to.be.greaterThan(drainMs);
    });

  for (const workload of workloads)
    it(`keep ${workload.metadata?.name} within the restricted Pod Security profile, with requests and probes`, () => {
      const pod = podOf(workload);
      const container = pod?.containers[0];
      expect(pod?.securityContext).to.deep.include({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(container?.securityContext).to.deep.equal({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container?.resources?.requests).to.have.all.keys('cpu', 'memory');
      expect(container?.readinessProbe?.httpGet?.path).to.equal('/readyz');
      expect(container?.livenessProbe?.httpGet?.path).to.equal('/livez');
      expect(pod?.hostNetwork ?? false).to.equal(workload.kind === 'DaemonSet');
    });

  for (const workload of workloads.filter(({ metadata }) => metadata?.name !== 'peerdiscovery-operator'))
    it(`give ${workload.metadata?.name} the memory that its clients may make it use`, () => {
      const container = podOf(workload)?.containers[0];
      const args = (container?.args ?? []).slice(1).map((arg) => arg.replace(/\$\(\w+\)/g, '192.0.2.1'));
      const parsed = parseProxyFlags(args);
      if (parsed.kind !== 'flags') throw new Error(JSON.stringify(parsed));
      const { limits, workers } = parsed.flags;
      const given = /^(\d+)Mi$/.exec(container?.resources?.limits?.memory ?? '')?.[1];
      // The limit is a fifth higher than the sum: for the largest table, the kernel's buffers, and cases without a
      // test.
      expect(Number(given) * 1024 * 1024).to.be.at.least(1.2 * workers * worstCaseBytes(limits));
    });

  it('grant no wildcard, and grant impersonation only in its own component', () => {
    const roles = documents.filter(({ object }) => ['Role', 'ClusterRole'].includes(object?.kind));
    expect(roles).to.have.length.greaterThan(5);
    for (const { name, object } of roles)
      for (const { apiGroups = [], resources = [], verbs } of (object as V1Role).rules ?? []) {
        expect([...apiGroups, ...resources, ...verbs].join(' '), name).not.to.contain('*');
        if (verbs.includes('impersonate')) expect(name).to.equal('components/impersonation/rbac.yaml');
      }
  });
});
