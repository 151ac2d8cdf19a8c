import type { DefinedResources } from '../domain/custom-resources.ts';
import type { PeerView } from '../domain/derive-bundle.ts';
import type { LeaseProblem } from '../domain/identity-lease.ts';
import type { RememberedVerdicts, SchemaKnowledge } from '../domain/judge-fields.ts';
import type { Doubt } from '../domain/routing-table.ts';
import type { Trouble } from './derive-status.ts';

/** All inputs of a pass's conclusions, at one moment. */
export interface Facts {
  readonly now: number;
  readonly views: readonly PeerView[];
  /** Uncertainties about the number of servers. */
  readonly doubt: Doubt | undefined;
  /** Why the cluster itself is not known well enough. */
  readonly unknown: Trouble | undefined;
  readonly defined: DefinedResources;
  readonly problems: readonly LeaseProblem[];
  readonly knowledge: SchemaKnowledge;
  readonly remembered: RememberedVerdicts | undefined;
}
