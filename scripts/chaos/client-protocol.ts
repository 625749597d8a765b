import type { DiskEvent, DiskOptions } from './stamped-disk.ts';

/** How often the initiators' process tells how far it is. */
export const PROGRESS_MS = 250;

export type ClientsOrder =
  | { readonly kind: 'start'; readonly seed: number; readonly disks: readonly DiskOptions[] }
  | { readonly kind: 'finish' };

export type ClientsReport =
  | DiskEvent
  | { readonly kind: 'started' }
  | Progress
  | Starved
  | { readonly kind: 'finished' }
  | { readonly kind: 'failed'; readonly what: string };

export interface Progress {
  readonly kind: 'progress';
  /** Writes and unmaps. */
  readonly acknowledged: number;
  /** Blocks read and held against what may be there. */
  readonly checked: number;
  /** Of those: read at the end. */
  readonly checkedAtEnd: number;
  /** How often every block of every disk was read while faults went on. */
  readonly sweeps: number;
  readonly refusedForSpace: number;
  readonly reconnects: number;
  /** When the lane, of all disks, that has waited longest was last answered. */
  readonly oldestAnswerMs: number;
}

export const NO_PROGRESS: Progress = {
  ...{ kind: 'progress', acknowledged: 0, checked: 0, checkedAtEnd: 0, sweeps: 0, refusedForSpace: 0 },
  ...{ reconnects: 0, oldestAnswerMs: 0 },
};

/** The initiators' own process was not run by this machine for so long: whatever waited then is no node's fault. */
export interface Starved {
  readonly kind: 'starved';
  readonly fromMs: number;
  readonly toMs: number;
}

/** A shorter time than this is how a busy machine works. */
export const STARVED_MS = 400;
