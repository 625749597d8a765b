import { invariant } from '../../base/errors.ts';
import { isMember } from './configuration.ts';
import { payloadSizeBytes } from './entry-size.ts';
import type { Progress } from './progress.ts';
import type { RaftCore } from './raft-core.ts';

/** The leader's sending: entries, snapshots and heartbeats. */

/** Sends what the peer lacks; with nothing to send, an empty append that tells the commit index. */
export function sendAppend(core: RaftCore, peer: Progress): void {
  trySendAppend(core, peer, true);
}

/** @returns whether a message was sent */
export function trySendAppend(core: RaftCore, peer: Progress, sendIfEmpty: boolean): boolean {
  if (peer.paused) return false;
  const { log } = core;
  const index = peer.next - 1;
  const logTerm = log.term(index);
  if (typeof logTerm !== 'number') return trySendSnapshot(core, peer);

  // With a full window an empty append still goes out: all that filled it may have been lost, and the
  // answer to this one reveals it.
  const throttled = peer.state === 'replicate' && peer.inflightFull;
  const entries = throttled ? [] : log.entriesFrom(peer.next, core.config.maxSizePerMessageBytes);
  if (entries === 'compacted') return trySendSnapshot(core, peer);
  if (entries.length === 0 && !sendIfEmpty) return false;

  core.send({ type: 'MsgApp', to: peer.id, index, logTerm, entries, commit: log.committed });
  peer.sentEntries(entries.length, payloadSizeBytes(entries));
  peer.sentCommit(log.committed);
  return true;
}

function trySendSnapshot(core: RaftCore, peer: Progress): boolean {
  if (!peer.recentActive) {
    core.trace({ event: 'snapshotPeerInactive', peer: peer.id });
    return false;
  }
  const snapshot = core.log.snapshot();
  if (snapshot === undefined || !isMember(snapshot.metadata.confState, peer.id)) {
    // A peer refuses a snapshot that does not know it, and would be sent it again, without end.
    const reason = snapshot === undefined ? 'unavailable' : 'withoutPeer';
    core.trace({ event: 'snapshotNotReady', peer: peer.id, reason });
    return false;
  }
  const { index, term } = snapshot.metadata;
  invariant(index > 0, 'entries are compacted but there is no snapshot of them');
  core.trace({
    event: 'snapshotSent',
    peer: peer.id,
    index,
    term,
    firstIndex: core.log.firstIndex,
    commit: core.log.committed,
    progress: peer,
  });
  peer.becomeSnapshot(index);
  core.trace({ event: 'peerPaused', peer: peer.id, progress: peer });
  core.send({ type: 'MsgSnap', to: peer.id, snapshot });
  return true;
}

export function broadcastAppend(core: RaftCore): void {
  for (const [id, peer] of core.tracker.progress) {
    if (id !== core.id) sendAppend(core, peer);
  }
}

export function broadcastHeartbeat(core: RaftCore): void {
  const context = core.reads.heartbeatContext();
  for (const [id, peer] of core.tracker.progress) {
    if (id === core.id) continue;
    // Beyond what is known to match, the peer's log may differ: it must not commit there.
    const commit = Math.min(peer.match, core.log.committed);
    core.send({ type: 'MsgHeartbeat', to: id, commit, ...(context !== undefined && { context }) });
    peer.sentCommit(commit);
  }
}
