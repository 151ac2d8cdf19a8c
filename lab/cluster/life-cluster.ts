import type { ClusterPlan } from './cluster-plan.ts';
import type { Health } from './life.ts';
import type { Load } from './load.ts';
import type { Machine } from './machine.ts';

/** The cluster that events act on. */
export interface LifeCluster {
  readonly plan: ClusterPlan;
  /** The machines whose endpoints clients use. */
  readonly machines: readonly [Machine, Machine, Machine];
  readonly health: Health;
  readonly load: Pick<Load, 'renew'>;
}
