import { runOracle } from '../../lab/run-oracle.ts';
import type { DocumentSet } from './discovery-builders.ts';

/** What kube-apiserver makes of a set of documents. */
export interface OracleAnswer {
  readonly document: string;
  readonly etag: string;
}

/** Lets kube-apiserver's own Go code merge each set, in one process of the given `merge-oracle` binary. */
export async function mergeWithOracle(binary: string, sets: readonly DocumentSet[]): Promise<readonly OracleAnswer[]> {
  return (await runOracle(binary, [], sets)) as readonly OracleAnswer[];
}
