import { expect } from 'chai';
import { createAddressPolicy } from '../../src/adapters/peers/address-policy.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { listStatusServers } from '../../src/operator/list-status-servers.ts';

const list = (spec: PeerDiscovery['spec'], peers: NonNullable<PeerDiscovery['status']>['peers']) =>
  listStatusServers(
    {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'PeerDiscovery',
      metadata: { name: 'cluster' },
      ...(spec !== undefined && { spec }),
      status: { ...(peers !== undefined && { peers }) },
    },
    { namespace: 'own', createAddressPolicy },
  ).map(({ address, serverName }) => `${address} ${serverName}`);

const ready = { id: 'a', address: '10.0.0.1:6443', state: 'Ready', reason: 'Ready' } as const;

describe('listStatusServers', () => {
  it('gives each server with the name that the spec demands of its certificate', () => {
    expect(list({}, [ready])).to.deep.equal(['10.0.0.1:6443 kubernetes.default.svc']);
    expect(list({ tls: { serverName: 'api.example' } }, [ready])).to.deep.equal(['10.0.0.1:6443 api.example']);
  });

  it('leaves out servers that were refused, that have no address, or whose address the spec forbids now', () => {
    const { address: _address, ...unresolved } = ready;
    const refused = { ...ready, id: 'b', address: '10.0.0.2:6443', state: 'Refused' } as const;
    expect(list({}, [refused, { ...unresolved, id: 'c' }])).to.deep.equal([]);
    expect(list({ addresses: { allowedCIDRs: ['10.0.1.0/24'] } }, [ready])).to.deep.equal([]);
  });

  it('gives none if the spec is invalid, or if its Leases may belong to other software', () => {
    expect(list({ staleAfter: 'soon' }, [ready])).to.deep.equal([]);
    expect(list({ leases: { labelSelector: 'app=other' } }, [ready])).to.deep.equal([]);
  });
});
