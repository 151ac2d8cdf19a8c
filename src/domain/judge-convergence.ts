import { compareText } from './compare-text.ts';
import type { PeerView, UnifiedView } from './derive-bundle.ts';

/** Whether all servers of the control plane serve the same APIs. */
export interface Convergence {
  readonly status: 'True' | 'False' | 'Unknown';
  /** CamelCase, never empty. */
  readonly reason: string;
  readonly message: string;
}

const maxNames = 10;

/**
 * `True` only if every server of the control plane is ready and all serve the same.
 *
 * A server that is away still belongs until it has been away for `goneAfter`. Meanwhile the outcome is `Unknown`,
 * because the server may come back as another version. A server that is ready again counts only after a while, so that
 * one which comes and goes does not open a gate.
 */
export function judgeConvergence(
  views: readonly PeerView[],
  { doubts, divergent }: Pick<UnifiedView, 'doubts' | 'divergent'>,
): Convergence {
  const belonging = views.filter(({ assessment }) => assessment.live || assessment.retained);
  const doubted = new Set(doubts.map(({ peer }) => peer));
  const missing = belonging.filter(
    ({ seen, assessment: { state } }) => doubted.has(seen.peer.id) || (state !== 'Ready' && state !== 'Unresolved'),
  );
  const unknown = (reason: string, why: string): Convergence => ({
    status: 'Unknown',
    reason,
    message: `the operator does not know what every kube-apiserver serves: ${why}`,
  });
  const [doubt] = doubts;
  if (doubt !== undefined) return unknown('Incomplete', missing.length > 0 ? nameEach(missing) : doubt.message);
  // A server that answers reports its resources, even while it is not ready.
  if (missing.some(({ assessment }) => assessment.state !== 'NotReady')) return unknown('PeerAway', nameEach(missing));
  if (divergent.length > 0)
    return {
      status: 'False',
      reason: 'Divergent',
      message: `${divergent.length} resources or subresources differ between peers`,
    };
  if (missing.length > 0) return unknown('PeerAway', nameEach(missing));
  const returning = belonging.filter(({ assessment }) => assessment.returning === true);
  if (returning.length > 0)
    return {
      status: 'Unknown',
      reason: 'PeerReturned',
      message: `a kube-apiserver has just come back: ${nameEach(returning)}`,
    };
  return { status: 'True', reason: 'SameAPIs', message: 'all kube-apiservers are ready and serve the same APIs' };
}

/** Peers by their hostnames, each with its state. */
export function nameEach(views: readonly PeerView[]): string {
  const named = [...views]
    .sort((a, b) => compareText(a.seen.peer.id, b.seen.peer.id))
    .slice(0, maxNames)
    .map(({ seen: { peer }, assessment }) => `${peer.hostname ?? peer.id} is ${assessment.state}`);
  const more = views.length > maxNames ? [`${views.length - maxNames} more`] : [];
  return [...named, ...more].join(', ');
}
