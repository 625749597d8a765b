import type { PortalAddress, TargetIdentity } from '../iscsi/ports.ts';

/** Messages between the main thread of `serve-lun` and its workers; all of them survive structured clone. */

export interface ServedFile {
  /** Absolute. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Where its portal group keeps its log. */
  readonly writesDirectory: string;
  readonly targetName: string;
  readonly identity: TargetIdentity;
  /** Index of the worker that serves it. */
  readonly worker: number;
}

export interface ServeWorkerConfig {
  readonly worker: number;
  /** How many there are. */
  readonly workers: number;
  /** All files, of which this worker serves its own and redirects to the others. */
  readonly files: readonly ServedFile[];
  readonly listen: readonly PortalAddress[];
  readonly readOnly: boolean;
  readonly cacheBytes: number;
  /** Commands that one session may have outstanding. */
  readonly queueDepth: number;
  /** This worker's part of what all initiators may have under way. */
  readonly sessionBytes: number;
  readonly logLevel: string;
}

export type ToServeWorker =
  /** Where each worker listens, by its index. */
  | { readonly type: 'portals'; readonly portals: readonly (readonly PortalAddress[])[] }
  /** @param merge whether to put what was written into the files */
  | { readonly type: 'stop'; readonly merge: boolean };

export type FromServeWorker =
  | { readonly type: 'listening'; readonly portals: readonly PortalAddress[] }
  /** Final. `refused` is for whoever runs this to mend; without it, it is a failed disk or a bug of ours. */
  | { readonly type: 'failed'; readonly refused?: RefusedStart; readonly reason: string }
  | { readonly type: 'stopped' };

/** The fields of an OperationError. */
export interface RefusedStart {
  readonly code: string;
  readonly got: string;
  readonly accepted: string;
}
