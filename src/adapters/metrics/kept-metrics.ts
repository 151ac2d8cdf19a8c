/** The metrics of successive processes in one place, as if they were one process. */
export interface KeptMetrics {
  /** Takes the last metrics of the running process. */
  take(metrics: readonly object[]): void;
  /** The process has ended: its counts stay, its gauges go. */
  end(): void;
  /** The running process's last gauges, and the counts of all processes. No count ever falls. */
  read(): readonly object[];
}

interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
}

/** As in prom-client's `getMetricsAsJSON`. */
interface Metric {
  readonly name: string;
  readonly type: string;
  readonly values: readonly Value[];
}

/** Keeps metrics of `getMetricsAsJSON`. */
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

/** Sums by metric and labels, whatever the metric's own aggregator, which is for parallel processes. */
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
