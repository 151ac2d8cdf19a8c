import { expect } from 'chai';
import {
  type ClusterFacts,
  checkDistribution,
  type NodeFacts,
  recognizeDistribution,
} from '../../src/plugin/distribution.ts';
import { type Cluster, PluginError } from '../../src/plugin/ports.ts';

const plain: ClusterFacts = { gitVersion: 'v1.36.3', groups: ['apps'], nodes: [{}] };
const node = (facts: NodeFacts): ClusterFacts => ({ ...plain, nodes: [{}, facts] });
const labelled = (label: string) => node({ metadata: { labels: { [label]: 'x' } } });
const annotated = (annotation: string) => node({ metadata: { annotations: { [annotation]: 'x' } } });

const cases: readonly [string, ClusterFacts, RegExp | undefined][] = [
  ['k3s', { ...plain, gitVersion: 'v1.34.1+k3s1' }, /\/var\/lib\/rancher\/k3s\/server\/tls\/client-auth-proxy\.crt/],
  ['RKE2', { ...plain, gitVersion: 'v1.34.1+rke2r1' }, /\/var\/lib\/rancher\/rke2\/server\/tls/],
  ['k0s', { ...plain, gitVersion: 'v1.34.1+k0s.0' }, /spec\.addresses\.static/],
  ['GKE', { ...plain, gitVersion: 'v1.34.1-gke.1829001' }, /Observe/],
  ['EKS', { ...plain, gitVersion: 'v1.33.5-eks-3025e55' }, /Observe/],
  ['AKS', labelled('kubernetes.azure.com/cluster'), /Observe/],
  ['DigitalOcean Kubernetes', labelled('doks.digitalocean.com/node-id'), /Observe/],
  ['OpenShift', { ...plain, groups: ['apps', 'config.openshift.io'] }, /hostnetwork-v2/],
  ['Talos', node({ status: { nodeInfo: { osImage: 'Talos (v1.12.0)' } } }), /aggregatorCA/],
  ['MicroK8s', labelled('microk8s.io/cluster'), /16443/],
  ['kOps', labelled('kops.k8s.io/instancegroup'), /apiserver-aggregator\.key/],
  ['kind', node({ spec: { providerID: 'kind://docker/kind/kind-control-plane' } }), undefined],
  ['minikube', labelled('minikube.k8s.io/name'), undefined],
  ['Cluster API', annotated('cluster.x-k8s.io/cluster-name'), /goneAfter/],
  ['kubeadm', annotated('kubeadm.alpha.kubernetes.io/cri-socket'), undefined],
];

describe('the distribution that doctor names', () => {
  for (const [name, facts, advice] of cases)
    it(`is ${name} by its sign, with the settings for it`, () => {
      const found = recognizeDistribution(facts);
      expect(found?.name).to.equal(name);
      expect(found?.sign).to.match(/^(version|Nodes|it serves) /);
      if (advice === undefined) expect(found?.advice).to.equal(undefined);
      else expect(found?.advice).to.match(advice);
    });

  it('is the distribution on top of kubeadm if both show', () => {
    const kubeadm = { 'kubeadm.alpha.kubernetes.io/cri-socket': 'x' };
    for (const [name, more] of [
      ['kind', { spec: { providerID: 'kind://a' } }],
      ['Cluster API', { metadata: { annotations: { ...kubeadm, 'cluster.x-k8s.io/cluster-name': 'a' } } }],
    ] as const)
      expect(recognizeDistribution(node({ metadata: { annotations: kubeadm }, ...more }))?.name).to.equal(name);
  });

  it('is none without a sign: a plain version, a foreign label, a group that only looks alike', () => {
    expect(recognizeDistribution(plain)).to.equal(undefined);
    expect(recognizeDistribution(labelled('example.com/eks.amazonaws.com'))).to.equal(undefined);
    expect(recognizeDistribution({ ...plain, groups: ['myconfig.openshift.io.example.com'] })).to.equal(undefined);
    expect(recognizeDistribution(node({ status: { nodeInfo: { osImage: 'Talosian 1' } } }))).to.equal(undefined);
  });

  it('is detected by the version alone if Nodes and groups may not be read', async () => {
    const refuse = () => Promise.reject(new PluginError('forbidden', 'ask', { refused: true }));
    const get = (path: string) => (path === '/version' ? Promise.resolve({ gitVersion: 'v1.34.1+k3s1' }) : refuse());
    const cluster = { get, list: refuse } as unknown as Cluster;
    const { level, message, cure } = await checkDistribution(cluster);
    expect(level).to.equal('ok');
    expect(message).to.equal('k3s: version v1.34.1+k3s1');
    expect(cure).to.contain('guides/distributions.md');
  });
});
