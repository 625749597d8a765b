import { MAX_WAITING_READS } from './limits.ts';
import type { RaftCore } from './raft-core.ts';
import { broadcastHeartbeat } from './replication.ts';
import { type Message, NO_NODE } from './types.ts';

/** The leader's side of linearizable reads (Raft dissertation §6.4). */

const NO_CONTEXT = new Uint8Array(0);

export function handleReadIndex(core: RaftCore, request: Message): void {
  if (!core.hasCommittedInTerm()) {
    // The commit index is not known to be current until an entry of this term is committed: after a restart not even
    // the only voter's, since a commit index need not be on disk.
    if (mayWait(core, core.earlyReads.length)) core.earlyReads.push(request);
  } else {
    confirmRead(core, request);
  }
}

export function releaseEarlyReads(core: RaftCore): void {
  if (core.earlyReads.length === 0 || !core.hasCommittedInTerm()) return;
  const requests = core.earlyReads;
  core.earlyReads = [];
  for (const request of requests) confirmRead(core, request);
}

export function handleReadAcknowledgement(core: RaftCore, from: number, context: Uint8Array): void {
  core.reads.acknowledge(from, context);
  for (const { request, index } of core.reads.takeConfirmed(core.tracker.configuration)) {
    answerRead(core, request, index);
  }
}

function confirmRead(core: RaftCore, request: Message): void {
  if (core.tracker.isSingleVoter) {
    answerRead(core, request, core.log.committed);
    return;
  }
  if (core.config.readOnlyOption === 'leaseBased') {
    answerRead(core, request, core.log.committed);
    return;
  }
  if (!mayWait(core, core.reads.count)) return;
  core.reads.add(request, core.log.committed);
  const context = core.reads.heartbeatContext();
  if (context !== undefined) core.reads.acknowledge(core.id, context);
  broadcastHeartbeat(core);
}

function mayWait(core: RaftCore, waiting: number): boolean {
  if (waiting < MAX_WAITING_READS) return true;
  core.trace({ event: 'readIndexRefused', waiting });
  return false;
}

function answerRead(core: RaftCore, request: Message, index: number): void {
  const context = request.context ?? NO_CONTEXT;
  if (request.from === NO_NODE || request.from === core.id) {
    core.readStates.push({ index, requestContext: context });
  } else {
    core.send({ type: 'MsgReadIndexResp', to: request.from, index, context });
  }
}
