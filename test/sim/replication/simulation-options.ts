import type { Logger } from '../../../base/logger.ts';
import type { DeliberateFaults, ReplicationHost } from '../../../storage/replication/index.ts';
import type { TrimBounds } from '../../../storage/replication/log-trimmer.ts';
import type { Process } from '../world.ts';
import type { Disk } from './disk.ts';

/** Small, so that a short run meets all of it. */
export const TRIM: TrimBounds = {
  checkMs: 100,
  growthBytes: 50_000,
  slackBytes: 40_000,
  checkpointBytes: 30_000,
  holdMs: 30,
  nearRecords: 4,
};

export interface SimulationOptions {
  readonly seed: number;
  readonly faults?: DeliberateFaults;
  /** The cluster takes any disk for the one that was in sync. */
  readonly ignoresDisks?: boolean;
  readonly durability?: 'write-back' | 'durable';
  readonly troubleMs?: number;
  /** Disks fail to sync now and then. */
  readonly failingDisks?: boolean;
  /** Initiators share units besides, as node/scsi serves them. */
  readonly units?: boolean;
  readonly logger?: (nodeId: string) => Logger;
}

export interface SimulationResult {
  readonly violation: string | undefined;
  readonly counts: Readonly<Record<string, number>>;
  /** Differs if anything at all went differently. */
  readonly trace: string;
}

export interface Node {
  readonly nodeId: string;
  readonly disk: Disk;
  process: Process;
  host: ReplicationHost;
  starts: number;
  lastSeenMs: number;
}
