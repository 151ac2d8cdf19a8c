import type { NodeBuild } from './build-programs.ts';

/** One version that the cluster can be of. */
interface Release {
  readonly node: NodeBuild;
  /** Archives of its images. */
  readonly images: readonly string[];
}

/** What a cluster is made of. */
export interface ClusterPlan {
  /** Folder of everything that the cluster writes. */
  readonly root: string;
  /** Name of its control group. */
  readonly group: string;
  /** Folder of containerd. */
  readonly containerd: string;
  readonly from: Release;
  readonly to: Release;
  /** Archive with the image of this project. */
  readonly product: string;
  /** How long it took to build what was missing. */
  readonly buildSeconds: number;
  /** Which events of a life are to happen; empty for all. */
  readonly events: readonly string[];
}
