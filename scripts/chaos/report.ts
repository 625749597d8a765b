import type { ChaosResult, Inflicted } from './run.ts';

/** A pause may begin a little after its fault has ended, and the next fault has not begun then. */
interface Row {
  readonly kind: string;
  readonly count: number;
  /** Of each fault of this kind: the longest pause of any initiator; 0: none paused. */
  readonly pausesMs: readonly number[];
}

/** The longest pause of each fault: one that began between it and the next. */
export function pauseOfEach({ inflicted, pauses }: ChaosResult): { kind: string; pauseMs: number }[] {
  return inflicted.map((fault: Inflicted, i) => {
    const untilMs = inflicted[i + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
    const during = pauses.filter(({ fromMs, toMs }) => toMs > fault.fromMs && fromMs < untilMs);
    const pauseMs = during.reduce((longest, { fromMs, toMs }) => Math.max(longest, toMs - fromMs), 0);
    return { kind: fault.kind, pauseMs };
  });
}

export function formatReport(result: ChaosResult): string {
  const each = pauseOfEach(result);
  const kinds = [...new Set(each.map(({ kind }) => kind))].sort();
  const rows: Row[] = [...kinds, 'all'].map((kind) => {
    const pausesMs = each
      .filter((fault) => kind === 'all' || fault.kind === kind)
      .map(({ pauseMs }) => pauseMs);
    return { kind, count: pausesMs.length, pausesMs: pausesMs.sort((a, b) => a - b) };
  });
  const lines = [
    `${'fault'.padEnd(18)} ${'count'.padStart(6)} ${'pause p50'.padStart(10)} ${'p99'.padStart(8)} ${'max'.padStart(8)}`,
    ...rows.map(
      ({ kind, count, pausesMs }) =>
        `${kind.padEnd(18)} ${String(count).padStart(6)} ${seconds(pausesMs, 0.5).padStart(10)} ${seconds(pausesMs, 0.99).padStart(8)} ${seconds(pausesMs, 1).padStart(8)}`,
    ),
    '',
    `${result.acknowledged} writes acknowledged, ${result.violations.length} lost or wrong; ${result.checked} reads checked`,
    `${result.refusedForSpace} writes refused for want of space; ${result.reconnects} logins after the first`,
    `${result.unexpectedEnds.length} ends of node processes that nobody asked for${listed(result.unexpectedEnds)}`,
  ];
  return [...lines, ...result.violations.slice(0, 20)].join('\n');
}

function seconds(sorted: readonly number[], quantile: number): string {
  const at = Math.min(sorted.length - 1, Math.ceil(quantile * sorted.length) - 1);
  return `${((sorted[Math.max(0, at)] ?? 0) / 1000).toFixed(2)} s`;
}

function listed(ends: readonly string[]): string {
  return ends.length === 0 ? '' : `: ${[...new Set(ends)].join(', ')}`;
}
