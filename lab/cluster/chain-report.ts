import type { UpgradeRecord } from './upgrade-records.ts';
import {
  type Column,
  clientTable,
  failureLines,
  method,
  newApiLine,
  operatorTable,
  requestTable,
  shortOf,
  stepTable,
} from './upgrade-report.ts';

/** How a chain of upgrades differs from one upgrade. */
const chainMethod = [
  'PeerDiscovery is installed once, in the first version. Everything stays in place from upgrade to upgrade: etcd’s data, PeerDiscovery and its objects, the certificates.',
  'The clients start anew for each upgrade, and their objects are deleted after it. Their `kubectl` has the version before the upgrade, so that it is at most one minor away from each server.',
  'An upgrade is over when all Nodes, the Pods of PeerDiscovery and its status are right: three peers are ready, and `Converged` is `True`.',
  'Connections and watches are counted after the last upgrade only, because that takes two minutes.',
];

/** Reports upgrades of one cluster, one after the other, as Markdown. */
export function writeChainReport(records: readonly UpgradeRecord[]): string {
  const versions = [records[0]?.versions[0] ?? '', ...records.map(({ versions: [, to] }) => to)];
  const through = columnsOf(records, ({ through: side }) => side, 'required');
  const straight = columnsOf(records, ({ straight: side }) => side, 'for comparison');
  return `${[
    `# Real upgrades of one cluster, ${versions.join(' to ')}, under load`,
    '',
    `Written by \`make test-cluster ARGS="${minorOf(versions[0])} ${minorOf(versions.at(-1))}"\`. kubeadm sets up three machines, each with its own etcd, and \`kubeadm upgrade\` upgrades them one after the other, version by version. Clients send requests through each machine’s proxy and directly to each server.`,
    '',
    ...records.flatMap(verdictLines),
    '## Through the proxies',
    '',
    ...requestTable(through),
    '',
    ...clientTable(through),
    '',
    ...operatorTable(
      records.flatMap(({ versions: [, heading], operator }) => (operator === undefined ? [] : [{ heading, operator }])),
    ),
    '## Directly to the servers',
    '',
    ...requestTable(straight),
    '',
    ...clientTable(straight),
    '',
    ...failureLines([...through.map(named('through the proxies')), ...straight.map(named('directly'))]),
    '## Steps',
    '',
    ...records.flatMap((record) => [`To ${record.versions[1]}:`, '', ...stepTable(record), '']),
    '## How it is measured',
    '',
    ...[
      ...(records.at(-1)?.lines ?? []),
      ...chainMethod,
      ...method,
      ...records.map(({ versions: [, to] }) => newApiLine(to)),
    ].map((line) => `- ${line}`),
  ].join('\n')}\n`;
}

const minorOf = (version = '') => /\d+\.\d+/.exec(version)?.[0] ?? '';

function columnsOf(
  records: readonly UpgradeRecord[],
  pick: (record: UpgradeRecord) => UpgradeRecord['through'],
  purpose: 'required' | 'for comparison',
): readonly Column[] {
  return records.flatMap((record) => {
    const side = pick(record);
    return side === undefined ? [] : [{ heading: record.versions[1], side, isRequired: purpose === 'required' }];
  });
}

const named = (side: string) => (column: Column) => ({ ...column, heading: `${column.heading}, ${side}` });

/** Whether an upgrade finished and met the requirements. */
function verdictLines(record: UpgradeRecord): readonly string[] {
  const { versions, failure } = record;
  const short = shortOf(record);
  const met =
    short.length === 0 ? 'all requirements were met.' : `requirements that were not met: ${short.join('; ')}.`;
  return [
    `**${versions.join(' to ')}:** ${failure === undefined ? '' : `it did not finish: ${failure.split('\n')[0]}; `}${met}`,
    '',
  ];
}
