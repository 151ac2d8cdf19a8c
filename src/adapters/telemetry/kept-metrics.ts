/** Metrics of the processes that run one after another in the same place, as if it had been one process. */
export interface KeptMetrics {
  /** What the process that runs now has told last. */
  take(metrics: readonly object[]): void;
  /** That process has ended: what it counted stays, its gauges go. */
  end(): void;
  /** The last gauges of the process that runs, and what all of them have counted; no count ever falls. */
  read(): readonly object[];
}

interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
}

/** As prom-client's `getMetricsAsJSON` has them. */
interface Metric {
  readonly name: string;
  readonly type: string;
  readonly values: readonly Value[];
}

/** Keeps them; the metrics are those of `getMetricsAsJSON`. */
export function keepMetrics(): KeptMetrics {
  let ended: readonly Metric[] = [];
  let latest: readonly Metric[] = [];
  return {
    take: (metrics) => {
      latest = metrics as readonly Metric[];
    },
    end: () => {
      ended = addCounts(
        ended,
        latest.filter(({ type }) => type === 'counter' || type === 'histogram'),
      );
      latest = [];
    },
    read: () => addCounts(ended, latest),
  };
}

/** Sums by metric and labels, whatever the metric's own aggregator is, which is for processes side by side. */
function addCounts(ended: readonly Metric[], latest: readonly Metric[]): readonly Metric[] {
  if (ended.length === 0) return latest;
  const metrics = new Map(ended.map((metric) => [metric.name, metric]));
  for (const metric of latest) {
    const before = metrics.get(metric.name);
    metrics.set(metric.name, before === undefined ? metric : { ...metric, values: addValues(before, metric) });
  }
  return [...metrics.values()];
}

function addValues(before: Metric, after: Metric): readonly Value[] {
  const values = new Map(before.values.map((one) => [keyOf(one), one]));
  for (const one of after.values) {
    const key = keyOf(one);
    values.set(key, { ...one, value: one.value + (values.get(key)?.value ?? 0) });
  }
  return [...values.values()];
}

function keyOf({ metricName = '', labels }: Value): string {
  return JSON.stringify([metricName, Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))]);
}
