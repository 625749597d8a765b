import type { Cell } from './cells.ts';
import type { ServerKind } from './servers.ts';

/** What one server did in one cell, one entry for each round. */
export interface Series {
  readonly operationsPerSecond: number[];
  readonly cpuSecondsPerOperation: number[];
  readonly p50Ms: number[];
  readonly p99Ms: number[];
}

export interface Row {
  readonly server: ServerKind;
  readonly operationsPerSecond: number;
  readonly megabytesPerSecond: number;
  readonly cpuMicrosecondsPerOperation: number;
  readonly cpuSecondsPerGib: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface CellResult {
  readonly cell: Cell;
  readonly rows: readonly Row[];
  /** Ours to the better of tgt's back ends by rate: more is better. */
  readonly rateRatio: number;
  /** Ours to that same back end: less is better. */
  readonly cpuRatio: number;
  /** The least and the greatest ratio of rates over the rounds. */
  readonly rateRatioRange: readonly [number, number];
}

const GIB = 1024 ** 3;

export function newSeries(): Series {
  return { operationsPerSecond: [], cpuSecondsPerOperation: [], p50Ms: [], p99Ms: [] };
}

export function summarize(cell: Cell, series: ReadonlyMap<ServerKind, Series>): CellResult {
  const rows = [...series].map(([server, values]) => rowOf(cell, server, values));
  const ours = rows.find(({ server }) => server === 'ours') as Row;
  const theirs = rows
    .filter(({ server }) => server !== 'ours')
    .reduce((best, row) => (row.operationsPerSecond > best.operationsPerSecond ? row : best));
  const theirSeries = series.get(theirs.server) as Series;
  const ratios = (series.get('ours') as Series).operationsPerSecond.map(
    (rate, round) => rate / (theirSeries.operationsPerSecond[round] as number),
  );
  return {
    cell,
    rows,
    rateRatio: median(ratios),
    cpuRatio: ours.cpuMicrosecondsPerOperation / theirs.cpuMicrosecondsPerOperation,
    rateRatioRange: [Math.min(...ratios), Math.max(...ratios)],
  };
}

function rowOf(cell: Cell, server: ServerKind, series: Series): Row {
  const rate = median(series.operationsPerSecond);
  const cpuSeconds = median(series.cpuSecondsPerOperation);
  return {
    server,
    operationsPerSecond: rate,
    megabytesPerSecond: (rate * cell.sizeBytes) / 1e6,
    cpuMicrosecondsPerOperation: cpuSeconds * 1e6,
    cpuSecondsPerGib: (cpuSeconds * GIB) / cell.sizeBytes,
    p50Ms: median(series.p50Ms),
    p99Ms: median(series.p99Ms),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export const TABLE_HEAD = `| workload | server | IOPS | MB/s | CPU us/op | CPU s/GiB | p50 ms | p99 ms | rate, ours : tgt | CPU, ours : tgt |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |`;

/** The rows of a Markdown table. */
export function formatResult(result: CellResult): string {
  return result.rows
    .map((row) => {
      const figures = [
        row.operationsPerSecond.toFixed(0),
        row.megabytesPerSecond.toFixed(0),
        row.cpuMicrosecondsPerOperation.toFixed(1),
        row.cpuSecondsPerGib.toFixed(3),
        row.p50Ms.toFixed(3),
        row.p99Ms.toFixed(3),
      ];
      const [least, greatest] = result.rateRatioRange.map((ratio) => ratio.toFixed(2));
      const ratios =
        row.server === 'ours'
          ? [`${result.rateRatio.toFixed(2)} [${least} to ${greatest}]`, result.cpuRatio.toFixed(2)]
          : ['', ''];
      return `| ${[result.cell.name, row.server, ...figures, ...ratios].join(' | ')} |`;
    })
    .join('\n');
}
