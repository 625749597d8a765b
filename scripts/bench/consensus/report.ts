import { describeWorkload, type Measurement, percentile, type Workload } from './load.ts';

/** What was measured of one workload: for each system, one measurement a round. */
export interface WorkloadResult {
  readonly workload: Workload;
  readonly bySystem: ReadonlyMap<string, readonly Measurement[]>;
}

const BASE = 'etcd';

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** A table in Markdown: medians over the rounds, and the median of the ratios taken round by round. */
export function formatResults(results: readonly WorkloadResult[]): string {
  const lines = [
    '| workload | system | per second | of etcd | (least, most) | p50 ms | p99 ms | CPU µs/op | log syncs/op | failed |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
  ];
  for (const { workload, bySystem } of results) {
    const base = bySystem.get(BASE);
    for (const [name, rounds] of bySystem) {
      const of = (pick: (m: Measurement) => number): number => median(rounds.map(pick));
      const ratios = rounds.map((m, i) => m.perSecond / (base?.[i]?.perSecond ?? Number.NaN));
      const isBase = name === BASE || base === undefined;
      lines.push(
        `| ${[
          describeWorkload(workload),
          name,
          of((m) => m.perSecond).toFixed(0),
          isBase ? '' : `${median(ratios).toFixed(2)}x`,
          isBase ? '' : `${Math.min(...ratios).toFixed(2)}, ${Math.max(...ratios).toFixed(2)}`,
          of((m) => m.p50Ms).toFixed(2),
          of((m) => m.p99Ms).toFixed(2),
          of((m) => m.cpuMicrosecondsPerOperation).toFixed(0),
          of((m) => m.logSyncsPerOperation).toFixed(2),
          rounds.reduce((sum, m) => sum + m.failures, 0),
        ].join(' | ')} |`,
      );
    }
  }
  return lines.join('\n');
}

export function formatFailovers(bySystem: ReadonlyMap<string, readonly number[]>): string {
  const lines = [
    '| system | kills | least ms | p50 | p90 | p99 | most ms |',
    '| --- | --- | --- | --- | --- | --- | --- |',
  ];
  for (const [name, times] of bySystem) {
    const sorted = times.toSorted((a, b) => a - b);
    const cells = [0, 0.5, 0.9, 0.99, 1].map((fraction) => percentile(sorted, fraction).toFixed(0));
    lines.push(`| ${name} | ${times.length} | ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}
