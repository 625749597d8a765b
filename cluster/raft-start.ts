import type { Clock, Timers } from '../base/clock.ts';
import type { Counters } from '../base/counters.ts';
import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import type { RandomSource } from '../base/random.ts';
import { LogCorruptionError, type RecordLog } from '../base/record-log.ts';
import type { MemberList, RaftMembers } from './raft-members.ts';
import { type LogBounds, RaftStore } from './raft-store.ts';

export interface RaftLogOptions {
  readonly nodeId: string;
  readonly raftId: number;
  /** Raft ids of the members with which the log began; the same on every node and for ever. */
  readonly firstVoters: readonly number[];
  /** As far as they are known before the log has been read; see setMembers. */
  readonly members: MemberList;
  /** Where term, vote and entries are kept; closed by its owner, after stop. */
  readonly records: RecordLog;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  /** Why an earlier log of this node had to be set aside; of account only where there is no other one yet. */
  readonly lost?: string;
  /** Puts a damaged log where it can be looked into. @returns an empty one; undefined: refuse to start */
  readonly setAside?: (reason: string) => Promise<RecordLog>;
  /** When to compact; default: see limits.ts. */
  readonly logBounds?: LogBounds;
  /** Bytes of entries in one message to a peer; default: see limits.ts. */
  readonly maxMessageBytes?: number;
  /** Called at each tick, after Raft's, and when this node has begun to lead. */
  readonly onTick: () => void;
  /** The disk has failed. The process is to end: nothing is known of what is on it. */
  readonly onFatal: (error: unknown) => void;
}

/**
 * The log as it is on disk. A damaged one is set aside, where the owner can do so, and an empty one takes its place
 * that says so; then `lost` of the store is set, and the node may not take part yet.
 * @throws LogCorruptionError, or OperationError code "log-damaged" when nobody else has what is lost
 */
export async function openStore(options: RaftLogOptions, members: RaftMembers): Promise<RaftStore> {
  const { records, logBounds, lost, setAside, logger } = options;
  const initial = members.initialConfState();
  try {
    return await RaftStore.open(records, initial, logBounds, lost);
  } catch (error) {
    if (!(error instanceof LogCorruptionError) || setAside === undefined) throw error;
    const reason = error.message;
    refuseAlone(members, reason);
    logger.error('cluster.log.damaged', { reason });
    return await RaftStore.open(await setAside(reason), initial, logBounds, reason);
  }
}

/** @throws OperationError code "log-damaged" when there is nobody else to fetch what is lost from */
export function refuseAlone(members: RaftMembers, reason: string): void {
  if (!members.isAlone) return;
  const message = `what this node had agreed on is damaged, and it knows of no other that has it: ${reason}`;
  throw new OperationError(message, {
    kind: 'conflict',
    code: 'log-damaged',
    accepted:
      'the log as it was; or a restored backup of the configuration: see "bootfabric restore"; or, where there are other nodes, to join them anew under another id',
  });
}
