import type { Exhibit } from './exhibit.ts';
import {
  CLUSTER_EXHIBITS,
  DOUBLE_FAILURE_EXHIBITS,
  FABRIC_EXHIBITS,
  FAILING_DISK_EXHIBITS,
  HUNG_PRIMARY_EXHIBITS,
  LATE_READ_EXHIBITS,
  LESSER_COPY_EXHIBITS,
  OLD_COPY_EXHIBITS,
  REPLICATION_EXHIBITS,
  REUSE_EXHIBITS,
  SLOW_MEMBER_EXHIBITS,
  UNIT_EXHIBITS,
} from './exhibits.ts';
import {
  CLUSTER,
  DOUBLE_FAILURES,
  FABRIC,
  FAILING_DISKS,
  HUNG_PRIMARIES,
  LATE_READS,
  LESSER_COPIES,
  LOG_LIVES,
  OLD_COPIES,
  REPLICATION,
  SLOW_MEMBERS,
  type Subject,
  UNITS,
} from './gallery.ts';

/** The faults that one simulator is to find. */
export interface Hall {
  /** What is simulated, in words. */
  readonly name: string;
  readonly subject: Subject;
  readonly exhibits: readonly Exhibit[];
}

/** The whole museum. */
export const HALLS: readonly Hall[] = [
  { name: 'the cluster log', subject: CLUSTER, exhibits: CLUSTER_EXHIBITS },
  { name: 'replication', subject: REPLICATION, exhibits: REPLICATION_EXHIBITS },
  { name: 'shared units', subject: UNITS, exhibits: UNIT_EXHIBITS },
  { name: 'failing disks', subject: FAILING_DISKS, exhibits: FAILING_DISK_EXHIBITS },
  { name: 'hung primaries', subject: HUNG_PRIMARIES, exhibits: HUNG_PRIMARY_EXHIBITS },
  { name: 'late reads', subject: LATE_READS, exhibits: LATE_READ_EXHIBITS },
  { name: 'lesser copies', subject: LESSER_COPIES, exhibits: LESSER_COPY_EXHIBITS },
  { name: 'slow members', subject: SLOW_MEMBERS, exhibits: SLOW_MEMBER_EXHIBITS },
  { name: "a log's lives", subject: LOG_LIVES, exhibits: REUSE_EXHIBITS },
  { name: 'whole nodes', subject: FABRIC, exhibits: FABRIC_EXHIBITS },
  { name: 'double failures', subject: DOUBLE_FAILURES, exhibits: DOUBLE_FAILURE_EXHIBITS },
  { name: 'old copies', subject: OLD_COPIES, exhibits: OLD_COPY_EXHIBITS },
];
