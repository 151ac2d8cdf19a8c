import { compareUtf8 } from './compare-utf8.ts';

/**
 * Merges lists of names into one that keeps the order of each, exactly as kube-apiserver does.
 *
 * A list that already has every name once is the answer. Otherwise, of the names with no predecessor left, the smallest
 * by bytes comes first. If the lists contradict each other, all names are sorted instead. Source:
 * `MergePreservingRelativeOrder` in `pkg/util/sort/sort.go` of k8s.io/apimachinery 0.36.
 */
export function mergeOrder(lists: readonly (readonly string[])[]): readonly string[] {
  const graph = buildGraph(lists);
  const complete = lists.find((list) => list.length === graph.size && new Set(list).size === list.length);
  return complete ?? sortTopologically(graph) ?? [...graph.keys()].sort(compareUtf8);
}

interface Node {
  readonly followers: Set<string>;
  /** How many names must still come before it. */
  waitsFor: number;
}

type Graph = ReadonlyMap<string, Node>;

function buildGraph(lists: readonly (readonly string[])[]): Graph {
  const graph = new Map<string, Node>();
  const nodeOf = (name: string): Node => {
    const node = graph.get(name) ?? { followers: new Set(), waitsFor: 0 };
    graph.set(name, node);
    return node;
  };
  for (const list of lists) {
    let previous: Node | undefined;
    for (const name of list) {
      const node = nodeOf(name);
      if (previous !== undefined && !previous.followers.has(name)) {
        previous.followers.add(name);
        node.waitsFor++;
      }
      previous = node;
    }
  }
  return graph;
}

/** Kahn's algorithm with a heap of free names. It consumes the graph. Undefined if the graph has a cycle. */
function sortTopologically(graph: Graph): readonly string[] | undefined {
  const free: string[] = [];
  for (const [name, node] of graph) if (node.waitsFor === 0) push(free, name);
  const sorted: string[] = [];
  for (let name = pop(free); name !== undefined; name = pop(free)) {
    sorted.push(name);
    for (const follower of graph.get(name)?.followers ?? []) {
      const node = graph.get(follower);
      if (node !== undefined && --node.waitsFor === 0) push(free, follower);
    }
  }
  return sorted.length === graph.size ? sorted : undefined;
}

/** Adds a name to a binary heap with the smallest name at index 0. */
function push(heap: string[], name: string): void {
  let index = heap.push(name) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent] ?? '';
    if (compareUtf8(above, name) <= 0) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = name;
}

function pop(heap: string[]): string | undefined {
  const smallest = heap[0];
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return smallest;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    const left = heap[child];
    if (left === undefined) break;
    const right = heap[child + 1];
    let smaller = left;
    if (right !== undefined && compareUtf8(right, left) < 0) {
      smaller = right;
      child++;
    }
    if (compareUtf8(last, smaller) <= 0) break;
    heap[index] = smaller;
    index = child;
  }
  heap[index] = last;
  return smallest;
}
