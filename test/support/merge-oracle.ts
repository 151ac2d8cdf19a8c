import { runOracle } from '../../lab/run-oracle.ts';
import type { DocumentSet } from './discovery-builders.ts';

/** kube-apiserver's result for a set of documents. */
export interface OracleAnswer {
  readonly document: string;
  readonly etag: string;
}

/** Merges each set with kube-apiserver's own Go code, in one process of the `merge-oracle` binary. */
export async function mergeWithOracle(binary: string, sets: readonly DocumentSet[]): Promise<readonly OracleAnswer[]> {
  return (await runOracle(binary, [], sets)) as readonly OracleAnswer[];
}
