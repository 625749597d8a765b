import { percentile } from '../consensus/load.ts';
import { type Breakdown, STEP_MEANINGS, STEPS } from './node-logs.ts';
import type { Gap, Manner } from './steady-writer.ts';

export const MANNERS: readonly Manner[] = ['eager', 'plain'];

/** One kill, move or stop, and what came of it. Times in milliseconds since it was done. */
export interface Trouble {
  readonly kind: string;
  readonly node: string;
  readonly steps: Breakdown;
  readonly pauses: readonly Pause[];
  /** Processes that ended meanwhile and were not to: what came of it says little of the deed. */
  readonly unexpectedEnds: readonly string[];
}

export interface Pause {
  readonly manner: Manner;
  /** kill: from it to the next acknowledgement. Planned: the longest time without one. */
  readonly pauseMs: number;
  readonly lostMs?: number;
  readonly connectedMs?: number;
  readonly loggedInMs?: number;
}

/** @param atMs when it was done, by the clock of the gap */
export function pauseOf(gap: Gap, atMs: number): Pause {
  const { manner, session, fromMs, toMs } = gap;
  const pauseMs = toMs - Math.max(fromMs, atMs);
  if (session === undefined) return { manner, pauseMs };
  const { lostMs, connectedMs, loggedInMs } = session;
  return {
    ...{ manner, pauseMs, lostMs: lostMs - atMs },
    ...{ connectedMs: connectedMs - atMs, loggedInMs: loggedInMs - atMs },
  };
}

/** One line: how it went. */
export function describeTrouble({ kind, node, steps, pauses, unexpectedEnds }: Trouble): string {
  const nodes = STEPS.flatMap((step) => (steps[step] === undefined ? [] : [`${step} ${steps[step]}`]));
  const initiators = pauses.map(({ manner, pauseMs, lostMs, connectedMs, loggedInMs }) => {
    const times = { lost: lostMs, connected: connectedMs, 'logged in': loggedInMs };
    const session = Object.entries(times).flatMap(([what, ms]) =>
      ms === undefined ? [] : [`${what} ${ms.toFixed(0)}, `],
    );
    return `${manner} (${session.join('')}paused ${pauseMs.toFixed(0)})`;
  });
  const ends = unexpectedEnds.map((end) => `; and ${end}`);
  return `${kind} of ${node}: ${nodes.join(', ')}; ${initiators.join('; ')}${ends.join('')}`;
}

/** Tables in Markdown: of each kind the pauses, then where they went. */
export function formatTroubles(troubles: readonly Trouble[]): string {
  const kinds = [...new Set(troubles.map(({ kind }) => kind))];
  const lines = [
    '| what | initiator | number | pause p50 ms | p90 | p99 | most |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...kinds.flatMap((kind) =>
      MANNERS.map((manner) => {
        const of = troubles.filter((trouble) => trouble.kind === kind);
        const pauses = of.flatMap((trouble) =>
          trouble.pauses.filter((pause) => pause.manner === manner).map(({ pauseMs }) => pauseMs),
        );
        return `| ${kind} | ${manner} | ${pauses.length} | ${spread(pauses, [0.5, 0.9, 0.99, 1])} |`;
      }),
    ),
    '',
    '| what | step | p50 ms | most | |',
    '| --- | --- | --- | --- | --- |',
    ...kinds.flatMap((kind) => stepRows(kind, troubles)),
  ];
  return lines.join('\n');
}

function stepRows(kind: string, troubles: readonly Trouble[]): string[] {
  const of = troubles.filter((trouble) => trouble.kind === kind);
  const eager = of.flatMap(({ pauses }) => pauses.filter(({ manner }) => manner === 'eager'));
  const rows: [string, readonly (number | undefined)[], string][] = [
    ...STEPS.map((step): [string, readonly (number | undefined)[], string] => [
      step,
      of.map(({ steps }) => steps[step]),
      STEP_MEANINGS[step],
    ]),
    ['connected', eager.map(({ connectedMs }) => connectedMs), 'the eager initiator has a connection'],
    ['logged in', eager.map(({ loggedInMs }) => loggedInMs), 'it has logged in and is ready'],
  ];
  return rows.flatMap(([step, values, meaning]) => {
    const known = values.filter((value) => value !== undefined);
    return known.length === 0 ? [] : [`| ${kind} | ${step} | ${spread(known, [0.5, 1])} | ${meaning} |`];
  });
}

function spread(values: readonly number[], fractions: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  return fractions.map((fraction) => percentile(sorted, fraction).toFixed(0)).join(' | ');
}
