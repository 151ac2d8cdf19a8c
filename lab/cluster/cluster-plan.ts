import type { ClientPrograms, NodeBuild } from './build-programs.ts';

/** One Kubernetes version of the cluster. */
export interface Release {
  readonly node: NodeBuild;
  /** Archives of the images of this version. */
  readonly images: readonly string[];
}

/** What answers for the whole control plane during an upgrade: this project, or kube-apiserver's own peer proxy. */
export type Remedy = 'product' | 'upstream';

/** The ingredients of a cluster. */
export interface ClusterPlan {
  /** The folder for all files of the cluster. */
  readonly root: string;
  /** The name of the cluster's control group. */
  readonly group: string;
  /** The folder of containerd. */
  readonly containerd: string;
  readonly from: Release;
  /** The versions to which the cluster is upgraded, one after the other. */
  readonly hops: readonly Release[];
  /** True if the upgrades are judged as a chain, with a report of their own. */
  readonly isChain: boolean;
  /** Archive with the image of this project. */
  readonly product: string;
  /** How long it took to build missing programs and images. */
  readonly buildSeconds: number;
  readonly clients: ClientPrograms;
  /** The folder of kube-router; undefined if no event needs it. */
  readonly kubeRouter?: string | undefined;
  readonly remedy: Remedy;
  /** The events to run; empty for all. */
  readonly events: readonly string[];
}
