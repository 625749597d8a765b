import type { PortalGroupState } from './group-state.ts';
import { MAX_EPOCH_ENTRIES } from './limits.ts';

/**
 * Which primary wrote which part of a log: the epochs in which one took office, with the number of its first
 * record. Both columns rise. Two logs that hold a record of the same epoch at the same number are the same
 * up to and including it, since one epoch has one primary, which writes each number once, and a member takes
 * its records only after it has been brought to agree on all before them.
 */
export interface EpochEntry {
  readonly epoch: number;
  readonly startIndex: number;
}

/** The epoch whose primary wrote record `index`; 0 for one before the table. */
export function epochAt(table: readonly EpochEntry[], index: number): number {
  for (let i = table.length - 1; i >= 0; i--) {
    const entry = table[i] as EpochEntry;
    if (entry.startIndex <= index) return entry.epoch;
  }
  return 0;
}

/** The table of a log that now ends before `nextIndex`. */
export function epochsBefore(table: readonly EpochEntry[], nextIndex: number): EpochEntry[] {
  return table.filter((entry) => entry.startIndex < nextIndex);
}

export function withEpoch(table: readonly EpochEntry[], entry: EpochEntry): EpochEntry[] {
  return [...epochsBefore(table, entry.startIndex), entry].slice(-MAX_EPOCH_ENTRIES);
}

export interface LogExtent {
  readonly epochs: readonly EpochEntry[];
  readonly nextIndex: number;
}

/** The number up to which two logs are the same: the smallest at which they may differ. */
export function divergenceIndex(a: LogExtent, b: LogExtent): number {
  let end = Math.min(a.nextIndex, b.nextIndex);
  while (end > 0) {
    const epochA = epochAt(a.epochs, end - 1);
    const epochB = epochAt(b.epochs, end - 1);
    if (epochA === epochB) return end;
    // The later epoch is unknown to the other log here, so nothing from its start on can agree.
    const [epochs, later] = epochA > epochB ? [a.epochs, epochA] : [b.epochs, epochB];
    end = Math.min(end - 1, (epochs.find((entry) => entry.epoch === later) as EpochEntry).startIndex);
  }
  return 0;
}

/**
 * A log that ends before the group was started from a lesser copy. Up to where that one ended the two have the same
 * numbers, but not the same content: what either had as a void relies on records that are given up. So it starts over.
 */
export function isFromBeforeLoss(
  { lossAcceptedEpoch = 0 }: PortalGroupState,
  epochs: readonly EpochEntry[],
): boolean {
  const last = epochs.at(-1);
  return last !== undefined && last.epoch < lossAcceptedEpoch;
}
