import type { Pause } from './clients.ts';
import type { ChaosResult } from './run.ts';

interface Row {
  readonly kind: string;
  /** Of each fault of this kind: the longest pause of any initiator; 0: none paused. */
  readonly pausesMs: readonly number[];
}

interface PausedFault {
  readonly kind: string;
  readonly wasWhole: boolean;
  /** Whether this machine let the initiators' own process wait meanwhile. */
  readonly starved: boolean;
  readonly pauseMs: number;
}

/** The longest pause of each fault: of those that ended in it, or began in it or before the next one. */
function pauseOfEach({ inflicted, pauses, starved }: ChaosResult): readonly PausedFault[] {
  return inflicted.map(({ kind, wasWhole, fromMs: startMs }, i) => {
    const untilMs = inflicted[i + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
    const isDuring = ({ fromMs, toMs }: Pick<Pause, 'fromMs' | 'toMs'>): boolean =>
      toMs > startMs && fromMs < untilMs;
    const during = pauses.filter(isDuring);
    const pauseMs = during.reduce((longest, { fromMs, toMs }) => Math.max(longest, toMs - fromMs), 0);
    return { kind, wasWhole, starved: starved.some(isDuring), pauseMs };
  });
}

function rowsOf(faults: readonly PausedFault[]): readonly Row[] {
  const kinds = [...new Set(faults.map(({ kind }) => kind))].sort();
  return [...kinds, 'all'].map((kind) => {
    const ofKind = faults.filter((fault) => kind === 'all' || fault.kind === kind);
    return { kind, pausesMs: ofKind.map(({ pauseMs }) => pauseMs).sort((a, b) => a - b) };
  });
}

function table(title: string, faults: readonly PausedFault[]): readonly string[] {
  if (faults.length === 0) return [];
  return [
    title,
    `${'fault'.padEnd(18)} ${'count'.padStart(6)} ${'pause p50'.padStart(10)} ${'p99'.padStart(8)} ${'max'.padStart(8)}`,
    ...rowsOf(faults).map(
      ({ kind, pausesMs }) =>
        `${kind.padEnd(18)} ${String(pausesMs.length).padStart(6)} ${seconds(pausesMs, 0.5).padStart(10)} ${seconds(pausesMs, 0.99).padStart(8)} ${seconds(pausesMs, 1).padStart(8)}`,
    ),
    '',
  ];
}

export function formatReport(result: ChaosResult): string {
  const { progress } = result;
  const each = pauseOfEach(result);
  const inTime = each.filter(({ starved }) => !starved);
  const single = inTime.filter(({ wasWhole }) => wasWhole);
  const further = inTime.filter(({ wasWhole }) => !wasWhole);
  const lines = [
    ...table('Faults that came when every replica was in sync:', single),
    ...table('Faults that came before what an earlier one took was back in sync:', further),
    ...table(`All faults, those during which this machine kept the initiators waiting included:`, each),
    `${progress.acknowledged} changes acknowledged, ${result.violations.length} lost or wrong`,
    `${progress.checked} blocks read and checked: each at least ${progress.sweeps} times while faults went on, ${progress.checkedAtEnd} of ${result.blocks} at the end`,
    `${progress.refusedForSpace} changes refused for want of space; ${progress.reconnects} logins after the first`,
    `${result.unexpectedEnds.length} ends of node processes that nobody asked for${listed(result.unexpectedEnds)}`,
  ];
  if (result.failure !== undefined) lines.push(`ended before its time: ${result.failure}`);
  return [...lines, ...result.violations.slice(0, 20)].join('\n');
}

/** Whether nothing was lost, nothing hung, and every block was read at the end. */
export function isGood({ violations, failure, progress, blocks }: ChaosResult): boolean {
  return (
    violations.length === 0 &&
    failure === undefined &&
    progress.acknowledged > 0 &&
    progress.checkedAtEnd === blocks
  );
}

function seconds(sorted: readonly number[], quantile: number): string {
  const at = Math.min(sorted.length - 1, Math.ceil(quantile * sorted.length) - 1);
  return `${((sorted[Math.max(0, at)] ?? 0) / 1000).toFixed(2)} s`;
}

function listed(ends: readonly string[]): string {
  return ends.length === 0 ? '' : `: ${[...new Set(ends)].join(', ')}`;
}
