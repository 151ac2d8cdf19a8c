import { expect } from 'chai';
import {
  type EndpointSliceObject,
  gatherAddresses,
  type NodeObject,
  type PodObject,
} from '../../src/operator/gather-addresses.ts';

const mirror: PodObject = {
  metadata: {
    annotations: {
      'kubernetes.io/config.mirror': 'hash',
      'kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint': '10.0.0.1:6443',
    },
    ownerReferences: [{ kind: 'Node', name: 'cp-1', controller: true }],
  },
  spec: { nodeName: 'cp-1' },
};
const slice = { endpoints: [{ addresses: ['10.0.0.1', '10.0.0.2'] }], ports: [{ name: 'https', port: 7443 }] };
const node = (name: string, ip: string) => ({
  metadata: { name, labels: { 'kubernetes.io/hostname': name } },
  status: { addresses: [{ type: 'InternalIP', address: ip }] },
});

const listed = <T>(objects: readonly T[]) => ({
  items: () => new Map(objects.map((object, at) => [String(at), object])),
});
const addressesFrom = (pods: PodObject[], nodes: NodeObject[], slices: EndpointSliceObject[], port: number) =>
  gatherAddresses({ pods: listed(pods), nodes: listed(nodes), endpointSlices: listed(slices) }, port);

describe('gatherAddresses', () => {
  it('takes the address that kubeadm writes into the mirror pod of a node', () => {
    expect(addressesFrom([mirror], [], [], 6443).mirrorPods).to.deep.equal([
      { hostname: 'cp-1', address: '10.0.0.1:6443' },
    ]);
  });

  it('ignores an ordinary pod, whatever its labels and annotations', () => {
    const { ownerReferences: _, ...metadata } = mirror.metadata ?? {};
    const forged: PodObject[] = [
      { ...mirror, metadata },
      { ...mirror, metadata: { ...metadata, ownerReferences: [{ kind: 'Node', name: 'cp-2' }] } },
      { ...mirror, metadata: { ...mirror.metadata, annotations: { ...mirror.metadata?.annotations, ...noMirror } } },
    ];
    expect(addressesFrom(forged, [], [], 6443).mirrorPods).to.deep.equal([]);
  });

  it('reads the flags of a static pod that kubeadm did not write, or else the address of its host', () => {
    const annotations = { 'kubernetes.io/config.mirror': 'hash' };
    const args = ['--advertise-address=fd00::1', '--secure-port=7443'];
    const rke = { ...mirror, metadata: { ...mirror.metadata, annotations } };
    const pods = [
      { ...rke, spec: { nodeName: 'cp-1', containers: [{ command: ['kube-apiserver'], args }] } },
      { ...rke, spec: { nodeName: 'cp-1' }, status: { hostIP: '10.0.0.9' } },
      rke,
    ];
    expect(addressesFrom(pods, [], [], 6443).mirrorPods.map(({ address }) => address)).to.deep.equal([
      '[fd00::1]:7443',
      '10.0.0.9:6443',
    ]);
  });

  it("takes a node's port from the control plane's endpoint on that node, else from the spec", () => {
    const { nodes, endpoints } = addressesFrom([], [node('cp-1', '10.0.0.1'), node('cp-3', '10.0.0.3')], [slice], 6443);
    expect(endpoints).to.deep.equal(['10.0.0.1:7443', '10.0.0.2:7443']);
    expect(nodes).to.deep.equal([
      { hostname: 'cp-1', address: '10.0.0.1:7443' },
      { hostname: 'cp-3', address: '10.0.0.3:6443' },
    ]);
  });

  it('returns every internal address of a Node', () => {
    const addresses = ['192.0.2.1', '10.0.0.1', 'fd00::1'].map((address) => ({ type: 'InternalIP', address }));
    const object = { metadata: { name: 'cp-1' }, status: { addresses } };
    expect(addressesFrom([], [object], [slice], 6443).nodes.map(({ address }) => address)).to.deep.equal([
      '192.0.2.1:6443',
      '10.0.0.1:7443',
      '[fd00::1]:6443',
    ]);
  });
});

const noMirror = { 'kubernetes.io/config.mirror': undefined as unknown as string };
