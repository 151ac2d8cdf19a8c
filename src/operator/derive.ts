import type { DefinedResources } from '../domain/custom-resources.ts';
import { type DeriveMemo, deriveUnifiedView, type PeerView, type UnifiedView } from '../domain/derive-bundle.ts';
import type { Doubt } from '../domain/routing-table.ts';
import { sameValue } from '../domain/same-value.ts';
import type { Facts } from './facts.ts';
import type { ControllerSettings } from './read-settings.ts';

/** The conclusions of a pass, and everything that they depend on. */
export interface Derived {
  readonly inputs: Inputs;
  readonly unified: UnifiedView;
}

/** Equal inputs give equal conclusions. */
interface Inputs {
  readonly peers: readonly unknown[];
  readonly custom: DefinedResources['custom'];
  readonly aggregated: DefinedResources['aggregated'];
  readonly deletedAt: DefinedResources['deletedAt'];
  readonly problems: Facts['problems'];
  readonly knowledge: number;
  readonly remembered: Facts['remembered'];
  readonly doubts: readonly (string | undefined)[];
}

/**
 * Merges the peers' documents and derives which peer serves which resource. Returns `before` itself if no input has
 * changed.
 */
export function derive(
  facts: Facts,
  before: Derived | undefined,
  settings: Pick<ControllerSettings, 'mode' | 'fieldSkew' | 'serverName'>,
  memo: DeriveMemo,
): Derived {
  const inputs = inputsOf(facts);
  if (before !== undefined && sameValue(before.inputs, inputs)) return before;
  const { views, defined, knowledge, remembered, doubt, unknown } = facts;
  const unified = deriveUnifiedView(views, defined, settings, memo, { knowledge, remembered });
  return { inputs, unified: [doubt, unknown].reduce(withDoubt, unified) };
}

function inputsOf({ views, defined, problems, knowledge, remembered, doubt, unknown }: Facts): Inputs {
  const { custom, aggregated, deletedAt } = defined;
  return {
    peers: views.map((view) => inputOf(view, deletedAt.size > 0)),
    custom,
    aggregated,
    deletedAt,
    problems,
    knowledge: knowledge.revision,
    remembered,
    doubts: [doubt?.message, unknown?.message],
  };
}

/**
 * Leaves out the time of the Lease's last renewal. Leaves out the time at which documents were read, too, unless
 * something was deleted lately.
 */
function inputOf({ seen, assessment }: PeerView, withAge: boolean): unknown {
  const { lease: _, ...peer } = seen.peer;
  const { documents, documentsAt, version, emulatedVersion, peerAggregated, schemas } = seen;
  return {
    peer,
    assessment,
    hash: documents?.hash,
    etags: documents?.etags,
    version,
    emulatedVersion,
    peerAggregated,
    schemas: schemas?.digest,
    documentsAt: withAge ? documentsAt : undefined,
  };
}

function withDoubt(unified: UnifiedView, doubt: Pick<Doubt, 'reason' | 'message'> | undefined): UnifiedView {
  if (doubt === undefined) return unified;
  const { reason, message } = doubt;
  return { ...unified, doubts: [{ peer: '', reason, message }, ...unified.doubts] };
}
