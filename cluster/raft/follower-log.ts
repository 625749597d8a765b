import { isMember } from './configuration.ts';
import { restoreConfState } from './membership.ts';
import type { RaftCore } from './raft-core.ts';
import { type Message, NO_NODE, type Snapshot } from './types.ts';

/** What a follower does to its log on the word of its leader (Raft §5.3, §7). */

export function handleAppend(core: RaftCore, message: Message): void {
  const { log } = core;
  const { from, index = 0, logTerm = 0, entries = [], commit = 0 } = message;
  if (index < log.committed) {
    // Committed entries agree by definition, so there is no need to look.
    core.send({ type: 'MsgAppResp', to: from, index: log.committed });
    return;
  }
  const lastNew = log.tryAppend({ term: logTerm, index }, entries, commit);
  if (lastNew !== undefined) {
    core.send({ type: 'MsgAppResp', to: from, index: lastNew });
    return;
  }
  core.trace({ event: 'appendRejected', from, index, ownTerm: log.termOrZero(index), messageTerm: logTerm });
  // The leader's entries up to `index` have terms up to `logTerm`, so where ours are higher they differ:
  // the hint skips that whole stretch at once.
  const hint = log.findConflictByTerm(Math.min(index, log.lastIndex), logTerm);
  core.send({
    type: 'MsgAppResp',
    to: from,
    index,
    reject: true,
    rejectHint: hint.index,
    logTerm: hint.term,
  });
}

export function handleHeartbeat(core: RaftCore, message: Message): void {
  core.log.commitTo(message.commit ?? 0);
  const context = message.context === undefined ? {} : { context: message.context };
  core.send({ type: 'MsgHeartbeatResp', to: message.from, ...context });
}

export function handleSnapshot(core: RaftCore, message: Message): void {
  const { snapshot } = message;
  if (snapshot === undefined) return;
  const { index, term } = snapshot.metadata;
  const restored = restore(core, snapshot);
  core.trace({ event: 'snapshotHandled', commit: core.log.committed, index, term, restored });
  const acknowledged = restored ? core.log.lastIndex : core.log.committed;
  core.send({ type: 'MsgAppResp', to: message.from, index: acknowledged });
}

/** @returns whether log and configuration were replaced by the snapshot's */
function restore(core: RaftCore, snapshot: Snapshot): boolean {
  const { log } = core;
  const { index, term, confState } = snapshot.metadata;
  if (index <= log.committed) return false;
  if (core.role !== 'follower') {
    core.trace({ event: 'snapshotWhileLeading' });
    core.becomeFollower(core.term + 1, NO_NODE);
    return false;
  }
  if (!isMember(confState, core.id)) {
    core.trace({ event: 'snapshotWithoutUs', confState });
    return false;
  }
  if (log.matches({ term, index })) {
    // The log has all of it already: that it is committed is the only news.
    traceSnapshot(core, 'commitFastForwarded', index, term);
    log.commitTo(index);
    return false;
  }
  log.restore(snapshot);
  restoreConfState(core, confState);
  traceSnapshot(core, 'stateRestored', index, term);
  return true;
}

function traceSnapshot(
  core: RaftCore,
  event: 'commitFastForwarded' | 'stateRestored',
  index: number,
  term: number,
): void {
  const last = core.log.lastEntry;
  const { committed } = core.log;
  core.trace({ event, commit: committed, lastIndex: last.index, lastTerm: last.term, index, term });
}
