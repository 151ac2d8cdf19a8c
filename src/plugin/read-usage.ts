/** The clients of a resource, according to an audit log or a server's metrics. */
export interface Usage {
  readonly group: string;
  readonly version: string;
  /** With `/subresource` if it is one. */
  readonly resource: string;
  readonly source: 'audit' | 'metrics';
  /** Empty for metrics, which know no clients. */
  readonly user: string;
  readonly userAgent: string;
  readonly verbs: readonly string[];
  readonly requests: number;
  /** RFC 3339; empty if unknown. */
  readonly last: string;
}

interface AuditEvent {
  readonly kind?: string;
  readonly stage?: string;
  readonly verb?: string;
  readonly user?: { readonly username?: string };
  readonly impersonatedUser?: { readonly username?: string };
  readonly userAgent?: string;
  readonly stageTimestamp?: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly apiVersion?: string;
    readonly resource?: string;
    readonly subresource?: string;
  };
}

/** Sums up an audit log in kube-apiserver's JSON-lines form. It counts lines that are not events, and continues. */
export async function readAuditUsage(
  lines: AsyncIterable<string>,
  wanted: (key: string) => boolean,
): Promise<{ readonly usage: readonly Usage[]; readonly events: number; readonly skipped: number }> {
  const sums = new Map<string, { usage: Usage; verbs: Set<string> }>();
  let events = 0;
  let skipped = 0;
  for await (const line of lines) {
    if (line.trim() === '') continue;
    const event = parseEvent(line);
    if (event === undefined) {
      skipped += 1;
      continue;
    }
    events += 1;
    const { objectRef } = event;
    // A request has several events. Only the one at its end counts, or at the start of a watch.
    if (objectRef?.resource === undefined || event.stage === 'RequestReceived') continue;
    const group = objectRef.apiGroup ?? '';
    const version = objectRef.apiVersion ?? '';
    const resource = withSubresource(objectRef.resource, objectRef.subresource);
    if (!wanted(`${group}/${version}/${resource}`)) continue;
    const user = event.impersonatedUser?.username ?? event.user?.username ?? '';
    const userAgent = event.userAgent ?? '';
    const key = JSON.stringify([group, version, resource, user, userAgent]);
    const before = sums.get(key);
    const verbs = before?.verbs ?? new Set();
    if (event.verb !== undefined) verbs.add(event.verb);
    const requests =
      (before?.usage.requests ?? 0) + (event.stage === 'ResponseStarted' && before !== undefined ? 0 : 1);
    const last = [before?.usage.last ?? '', event.stageTimestamp ?? ''].sort().at(-1) ?? '';
    const usage = { group, version, resource, source: 'audit' as const, user, userAgent, verbs: [], requests, last };
    sums.set(key, { usage, verbs });
  }
  const usage = [...sums.values()].map((sum) => ({ ...sum.usage, verbs: [...sum.verbs].sort() }));
  return { usage, events, skipped };
}

/**
 * The deprecated APIs that were requested since the server started, from `apiserver_requested_deprecated_apis`.
 *
 * Source: https://kubernetes.io/docs/reference/using-api/deprecation-policy/ (rule of the metric since 1.19).
 */
export function readMetricsUsage(text: string, wanted: (key: string) => boolean): readonly Usage[] {
  const usage: Usage[] = [];
  for (const line of text.split('\n')) {
    const match = /^apiserver_requested_deprecated_apis\{(?<labels>.*)\}\s+(?<value>\S+)/.exec(line);
    if (match?.groups === undefined || Number(match.groups.value) === 0) continue;
    const label = (name: string) =>
      new RegExp(`(?:^|,)${name}="((?:[^"\\\\]|\\\\.)*)"`).exec(match.groups?.labels ?? '')?.[1] ?? '';
    const [group, version] = [label('group'), label('version')];
    const resource = withSubresource(label('resource'), label('subresource'));
    if (!wanted(`${group}/${version}/${resource}`)) continue;
    usage.push({
      ...{ group, version, resource, source: 'metrics', user: '', userAgent: '' },
      ...{ verbs: [], requests: 1, last: '' },
    });
  }
  return usage;
}

function parseEvent(line: string): AuditEvent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && (value as AuditEvent).kind === 'Event'
      ? (value as AuditEvent)
      : undefined;
  } catch {
    return undefined;
  }
}

function withSubresource(resource: string, subresource: string | undefined): string {
  return subresource === undefined || subresource === '' ? resource : `${resource}/${subresource}`;
}
