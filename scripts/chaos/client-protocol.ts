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
  | { readonly kind: 'finished' }
  | { readonly kind: 'failed'; readonly what: string };

export interface Progress {
  readonly kind: 'progress';
  readonly acknowledged: number;
  readonly checked: number;
  readonly refusedForSpace: number;
  readonly reconnects: number;
  /** When the disk that has waited longest was last answered. */
  readonly oldestAckMs: number;
}
