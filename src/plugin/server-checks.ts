import type { PeerStatus } from '../api/peer-discovery.ts';
import type { Check } from './checks.ts';
import { nameOf } from './names.ts';
import type { ServerInspection } from './ports.ts';
import { formatAge } from './show-status.ts';

/** A peer and the facts from a connection to it; undefined if it has no address. */
export interface InspectedPeer {
  readonly peer: PeerStatus;
  readonly inspection: ServerInspection | undefined;
}

const dayMs = 24 * 60 * 60 * 1_000;
/** `Date` has whole seconds, and connecting takes time. */
const skewWarnMs = 2_500;
const skewFailMs = 10_000;

/** Shows how each peer's address was found, and how trustworthy it is; pure. */
export function checkAddresses(peers: readonly PeerStatus[]): readonly Check[] {
  if (peers.length === 0)
    return [
      {
        ...{ name: 'peers', level: 'fail', message: 'the operator has found no kube-apiserver' },
        cure:
          'check that identity Leases exist (kubectl -n kube-system get leases -l ' +
          'apiserver.kubernetes.io/identity) and that spec.addresses.sources finds addresses',
      },
    ];
  return peers.map((peer): Check => {
    const name = `address ${nameOf(peer)}`;
    if (peer.state === 'Refused')
      return {
        ...{ name, level: 'fail', message: peer.message ?? peer.reason },
        cure:
          'give the server a certificate that chains to the CA and has the name kubernetes.default.svc, ' +
          'or allow its range in spec.addresses.allowedCIDRs',
      };
    if (peer.address === undefined)
      return {
        ...{ name, level: 'fail', message: 'its Lease is renewed, but no source has an address for it' },
        cure: 'label its Node node-role.kubernetes.io/control-plane, or list it in spec.addresses.static',
      };
    const known = `${peer.address} from ${peer.addressSource ?? 'an unknown source'}, trust ${peer.trust ?? 'unknown'}`;
    if (peer.trust === 'Low')
      return {
        ...{ name, level: 'warn', message: `${known}: anyone who may write Leases can forge it` },
        cure: 'label its Node node-role.kubernetes.io/control-plane, or list it in spec.addresses.static',
      };
    if (peer.id === peer.address)
      return {
        ...{ name, level: 'warn', message: `${known}: its identity could not be proved` },
        cure: 'label its Node node-role.kubernetes.io/control-plane so that its Lease is matched',
      };
    return { name, level: 'ok', message: known };
  });
}

/** Checks whether each certificate verifies, and for how long; pure. */
export function checkCertificates(peers: readonly InspectedPeer[], now: number): readonly Check[] {
  return peers.flatMap(({ peer, inspection }): readonly Check[] => {
    if (inspection === undefined) return [];
    const name = `certificate ${nameOf(peer)}`;
    if (inspection.kind === 'unreachable')
      return [
        {
          ...{ name, level: 'skip', message: `not reachable from here: ${inspection.message}` },
          cure:
            '"kubectl peerdiscovery status" shows what the operator sees of it; to look for yourself, ' +
            'use a machine that reaches the server',
        },
      ];
    if (inspection.kind === 'refused')
      return [
        {
          ...{ name, level: 'fail', message: inspection.message },
          cure:
            "issue a certificate from the CA of spec.tls.caBundle (else the kubeconfig's), with the DNS " +
            'name of spec.tls.serverName',
        },
      ];
    const leftMs = inspection.notAfter - now;
    const message = `verified, valid for ${formatAge(leftMs)}`;
    if (leftMs > 30 * dayMs) return [{ name, level: 'ok', message }];
    const cure = 'renew it (kubeadm certs renew apiserver) and restart the server';
    return [{ name, level: leftMs > 7 * dayMs ? 'warn' : 'fail', message, cure }];
  });
}

/** Checks whether the servers' clocks agree with each other and with this machine's; pure. */
export function checkClocks(peers: readonly InspectedPeer[]): readonly Check[] {
  const skews = peers.flatMap(({ peer, inspection }) =>
    inspection?.kind === 'verified' && inspection.skewMs !== undefined
      ? [{ name: nameOf(peer), ms: inspection.skewMs }]
      : [],
  );
  const [first, ...others] = skews;
  if (first === undefined)
    return [
      {
        ...{ name: 'clocks', level: 'skip', message: 'no server could be asked for its time' },
        cure: 'compare the output of "date -u" on the control-plane nodes',
      },
    ];
  const earliest = others.reduce((a, b) => (b.ms < a.ms ? b : a), first);
  const latest = others.reduce((a, b) => (b.ms > a.ms ? b : a), first);
  const apart = latest.ms - earliest.ms;
  const here = Math.max(Math.abs(latest.ms), Math.abs(earliest.ms));
  const seconds = (ms: number) => (ms / 1_000).toFixed(1);
  const between =
    skews.length === 1
      ? `${first.name} is ${seconds(here)} s from this machine`
      : `servers are within ${seconds(apart)} s of each other (${earliest.name}, ${latest.name}), ${seconds(here)} s from this machine at most`;
  const level = apart > skewFailMs ? 'fail' : Math.max(apart, here) > skewWarnMs ? 'warn' : 'ok';
  if (level === 'ok') return [{ name: 'clocks', level, message: between }];
  return [
    {
      ...{ name: 'clocks', level, message: between },
      cure: 'synchronise the clocks (chrony, systemd-timesyncd): Leases, tokens and certificates depend on them',
    },
  ];
}

/** Checks whether upstream's own Mixed Version Proxy is active, and which of the two should go; pure. */
export function checkUpstreamProxy(peers: readonly PeerStatus[]): Check {
  const name = "Kubernetes' own peer proxy";
  const known = peers.filter(({ peerAggregated }) => peerAggregated !== undefined);
  const running = known.filter(({ peerAggregated }) => peerAggregated === true).map(nameOf);
  if (known.length === 0)
    return {
      ...{ name, level: 'skip', message: 'not known for any server' },
      cure: 'wait until the operator has read their discovery',
    };
  if (running.length === 0)
    return { name, level: 'ok', message: 'no server runs it (--peer-ca-file): PeerDiscovery routes alone' };
  if (running.length < peers.length)
    return {
      ...{ name, level: 'ok' },
      message: `${running.join(', ')} of ${peers.length} servers run it; the others need PeerDiscovery. Both work side by side: what PeerDiscovery has routed is not routed again`,
    };
  return {
    ...{ name, level: 'warn' },
    message: 'every server runs it (--peer-ca-file): requests are routed twice over',
    cure: 'decide: spec.mode Observe leaves routing to the servers and keeps status, alerts and the Converged gate; Route keeps the promise that doubt is 503 and not 404, and fails over reads',
  };
}
