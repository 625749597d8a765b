import type { Logger } from '../base/logger.ts';
import type { RandomSource } from '../base/random.ts';
import {
  ELECTION_TICKS,
  HEARTBEAT_TICKS,
  MAX_COMMITTED_PER_READY_BYTES,
  MAX_ENTRIES_PER_MESSAGE_BYTES,
  MAX_INFLIGHT_BYTES,
  MAX_INFLIGHT_MESSAGES,
  MAX_UNCOMMITTED_BYTES,
} from './limits.ts';
import { type RaftStorage, RawNode } from './raft/index.ts';

/** Raft as this cluster runs it. @param applied the consumer has all entries up to here */
export function makeRawNode(
  raftId: number,
  storage: RaftStorage,
  applied: number,
  options: { readonly random: RandomSource; readonly logger: Logger; readonly maxMessageBytes?: number },
): RawNode {
  const { random, logger, maxMessageBytes = MAX_ENTRIES_PER_MESSAGE_BYTES } = options;
  return new RawNode({
    id: raftId,
    electionTick: ELECTION_TICKS,
    heartbeatTick: HEARTBEAT_TICKS,
    storage,
    applied,
    asyncStorageWrites: true,
    maxSizePerMessageBytes: maxMessageBytes,
    maxCommittedSizePerReadyBytes: MAX_COMMITTED_PER_READY_BYTES,
    maxUncommittedEntriesBytes: MAX_UNCOMMITTED_BYTES,
    maxInflightMessages: MAX_INFLIGHT_MESSAGES,
    maxInflightBytes: MAX_INFLIGHT_BYTES,
    checkQuorum: true,
    preVote: true,
    readOnlyOption: 'safe',
    // A proposal is forwarded by us, tied to the leader's term, so that its fate can be known.
    disableProposalForwarding: true,
    disableConfChangeValidation: false,
    stepDownOnRemoval: true,
    random: (bound) => random.below(bound),
    trace: ({ event, ...fields }) => logger.debug(`raft.${event}`, fields),
  });
}
