import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 weigh the bytes that pass through against the whole heap.
 *
 * Without it, every 64 MiB of buffers start a full collection, which takes a third of the CPU of a proxy that passes
 * large answers on (docs/benchmarks/proxy.md). Older versions of V8 do not know it.
 */
export function tuneHeap(): void {
  if (Number.parseInt(process.versions.v8, 10) >= 14) setFlagsFromString('--external-memory-accounted-in-global-limit');
}
