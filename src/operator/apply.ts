import type { Log } from '../runtime/log.ts';
import type { PassState } from './pass-state.ts';
import type { Announcement, ReportPlan, TablePlan } from './plan.ts';
import type { RecordEvent, StatusWriter } from './ports.ts';
import { confirm, type PublisherContext, publish } from './publish-table.ts';

/** What applying a plan needs. */
export interface Outlets {
  readonly publishing: PublisherContext;
  readonly status: StatusWriter;
  readonly recordEvent: RecordEvent;
  readonly log: Log;
}

/** Announces peers, publishes and confirms, in this order. A failure is recorded in the state and planned again. */
export async function applyTable(plan: TablePlan, before: PassState, outlets: Outlets): Promise<PassState> {
  announce(plan.announcements, outlets);
  const state = { ...before, announced: plan.announced };
  const { publishing } = outlets;
  const published =
    plan.publish === undefined ? state.publication : await publish(state.publication, plan.publish, publishing);
  if (!plan.confirm) return { ...state, publication: published };
  // A proxy without an answer asks again.
  return { ...state, publication: await confirm(published, state.questions, publishing), questions: [] };
}

/** Writes the status. A failure is logged once, retried after a while, and delays nothing else. */
export async function applyReport(
  plan: ReportPlan,
  before: PassState,
  now: number,
  outlets: Outlets,
): Promise<PassState> {
  announce(plan.announcements, outlets);
  const report = { ...before.report, standstill: plan.standstill };
  if (plan.about === undefined) return { ...before, report };
  try {
    if (plan.status !== undefined) await outlets.status.write(plan.status);
    const status = plan.status ?? report.status;
    return { ...before, report: { ...report, status, about: plan.about, failedAt: undefined } };
  } catch (error) {
    if (report.failedAt === undefined) outlets.log.warn('cannot write the status; trying again', { error });
    return { ...before, report: { ...report, failedAt: now } };
  }
}

function announce(announcements: readonly Announcement[], { recordEvent, log }: Outlets): void {
  for (const { event, log: entry } of announcements) {
    if (event !== undefined) recordEvent(event.type, event.reason, event.message);
    if (entry !== undefined) log.info(entry.message, entry.fields);
  }
}
