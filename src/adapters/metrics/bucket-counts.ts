import type { Registry } from 'prom-client';

/** A histogram whose observation costs one look-up. prom-client's own builds and hashes a set of labels each time. */
export interface BucketCounts {
  /** `label` is the value of the only label, if there is one. */
  observe(value: number, label?: string): void;
}

/** The definition of a histogram. */
export interface BucketCountsOptions {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, ascending. */
  readonly buckets: readonly number[];
  readonly labelName?: string;
}

interface Series {
  readonly counts: number[];
  sum: number;
}

/** Registers a histogram whose values are assembled only when they are read. */
export function registerBucketCounts(registry: Registry, options: BucketCountsOptions): BucketCounts {
  const { name, help, buckets, labelName } = options;
  const series = new Map<string, Series>();
  const create = (): Series => ({ counts: new Array<number>(buckets.length + 1).fill(0), sum: 0 });
  if (labelName === undefined) series.set('', create());
  const read = () => ({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    values: [...series].flatMap(([label, one]) =>
      listValues(name, buckets, one, labelName === undefined ? {} : { [labelName]: label }),
    ),
  });
  // A registry only needs to read a metric.
  registry.registerMetric({ name, get: () => Promise.resolve(read()) } as unknown as Parameters<
    Registry['registerMetric']
  >[0]);
  return {
    observe: (value, label = '') => {
      let one = series.get(label);
      if (one === undefined) {
        one = create();
        series.set(label, one);
      }
      let at = 0;
      while (at < buckets.length && value > (buckets[at] ?? 0)) at++;
      one.counts[at] = (one.counts[at] ?? 0) + 1;
      one.sum += value;
    },
  };
}

function listValues(
  name: string,
  buckets: readonly number[],
  { counts, sum }: Series,
  labels: Readonly<Record<string, string>>,
): object[] {
  let count = 0;
  const values: object[] = counts.map((own, at) => {
    count += own;
    return { metricName: `${name}_bucket`, labels: { le: buckets[at] ?? '+Inf', ...labels }, value: count };
  });
  values.push({ metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: count });
  return values;
}
