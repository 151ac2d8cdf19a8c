import { setFlagsFromString } from 'node:v8';

/**
 * Lets V8 weigh the bytes that pass through against the whole heap.
 *
 * Otherwise every 64 MiB of buffers start a full collection, which takes a third of the CPU of a proxy that forwards
 * large answers (docs/benchmarks/proxy.md). Older versions of V8 do not have this flag.
 */
export function tuneHeap(): void {
  if (Number.parseInt(process.versions.v8, 10) >= 14) setFlagsFromString('--external-memory-accounted-in-global-limit');
}
