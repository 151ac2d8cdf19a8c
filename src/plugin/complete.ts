import { apiVersion, type PeerDiscovery, plural } from '../api/peer-discovery.ts';
import { type CommandShape, parsePluginFlags } from '../flags/plugin-flags.ts';
import { listResources } from './find-resource.ts';
import { formatResource, nameOf } from './names.ts';
import type { Cluster, PluginContext } from './ports.ts';
import { readPublished } from './read-cluster.ts';

/** The commands that can be completed, by name. */
export type Commands = Readonly<Record<string, { readonly shape: CommandShape; readonly summary: string }>>;

/** Directives of cobra, which kubectl's own completion understands: complete nothing else, or files as well. */
const noFiles = ':4\n';
const files = ':0\n';

/**
 * Completes a command line for kubectl. kubectl runs `kubectl_complete-peerdiscovery` with the words so far; the last
 * one is unfinished. It never fails: a shell is no place for error messages.
 *
 * Source: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/ and cobra's `__complete`.
 */
export async function complete(
  words: readonly string[],
  commands: Commands,
  connect: (flags: { readonly kubeconfig: string | undefined; readonly context: string | undefined }) => Cluster,
  context: Pick<PluginContext, 'stdout'>,
): Promise<void> {
  const unfinished = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const offer = (candidates: readonly string[], directive = noFiles) => {
    const fitting = candidates.filter((candidate) => candidate.startsWith(unfinished));
    context.stdout(fitting.map((candidate) => `${candidate}\n`).join('') + directive);
  };
  const [name, ...args] = before;
  if (name === undefined)
    return offer(Object.entries(commands).map(([command, { summary }]) => `${command}\t${summary}`));
  const shape = Object.hasOwn(commands, name) ? commands[name]?.shape : undefined;
  if (shape === undefined) return offer([]);
  const previous = args.at(-1) ?? '';
  if (previous === '-o' || previous === '--output') return offer(shape.outputs.filter((output) => output !== 'table'));
  if (/^--(kubeconfig|target|audit-log|metrics-file)$/.test(previous)) return offer([], files);
  if (unfinished.startsWith('-')) return offer(['help', ...shape.flags].map((flag) => `--${flag}`));
  const parsed = parsePluginFlags(args, { ...shape, arguments: { min: 0, max: 99, what: '' } });
  try {
    if ('problems' in parsed && previous !== '--name') return offer([]);
    const flags = 'flags' in parsed ? parsed.flags : undefined;
    const cluster = connect({ kubeconfig: flags?.kubeconfig, context: flags?.context });
    if (previous === '--name') {
      const objects = await cluster.list<PeerDiscovery>(`/apis/${apiVersion}/${plural}`);
      return offer(objects.map(({ metadata }) => metadata.name));
    }
    if (flags === undefined || flags.arguments.length >= shape.arguments.max) return offer([]);
    const { bundle } = await readPublished(cluster, flags);
    if (name === 'diff') return offer(bundle.table.peers.map(nameOf));
    if (name === 'explain') return offer([...new Set(listResources(bundle).map(formatResource))]);
    return offer([], files);
  } catch {
    return offer([]);
  }
}
