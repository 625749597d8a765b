import type { LoggedRecord } from '../lun/log-record.ts';
import type { BackupState, Heard } from './backup-state.ts';
import {
  type DiskRoom,
  type LogView,
  persistEffect,
  type ReplicaCore,
  type ReplicaEffect,
  type ReplicaEvent,
} from './core.ts';
import { type EpochEntry, epochAt, epochsBefore, withEpoch } from './epoch-table.ts';
import type { AppendFrame, PrimaryFrame, ResetFrame, TruncateFrame } from './frame.ts';
import { withGrant } from './grants.ts';
import { decodeLuns } from './group-meta.ts';
import type { MemberIdentity } from './group-state.ts';
import { CLOCK_DRIFT, FULL_RETRY_MS, LEASE_MARGIN_MS } from './limits.ts';
import { followTaking, indexToSay, noteTaken } from './taking-in.ts';

/** How long a grant binds the one who gave it: longer than the other can count it, whatever their clocks. */
export function grantMs(leaseMs: number): number {
  return leaseMs * (1 + 2 * CLOCK_DRIFT) + LEASE_MARGIN_MS;
}

/** Changes `state` and says what to do. Frames have a known sender; `nowMs` is monotonic. */
export function stepBackup(state: BackupState, event: ReplicaEvent, nowMs: number): ReplicaEffect[] {
  const { log } = state.core;
  switch (event.kind) {
    case 'frame':
      return isPrimaryFrame(event.frame) ? onFrame(state, event.from, event.frame, event.records, nowMs) : [];
    case 'appended':
      if (event.cut !== log.cut) return [];
      log.appendedIndex = event.appendedIndex;
      state.fullSinceMs = undefined;
      return afterAppend(state);
    case 'appendFailed':
      if (event.cut !== log.cut) return [];
      // Appends that still wait among the effects must not take the places of those that failed.
      log.cut++;
      log.appendedIndex = event.appendedIndex;
      log.nextIndex = event.appendedIndex;
      log.epochs = epochsBefore(log.epochs, log.nextIndex);
      state.fullSinceMs = nowMs;
      return answer(state);
    case 'synced':
      if (event.cut !== log.cut) return [];
      log.durableIndex = Math.max(log.durableIndex, event.durableIndex);
      return answer(state);
    case 'imagesReady':
      state.core.imagesReady = event.ready;
      return [];
    case 'room':
      return onRoom(state, event.room);
    case 'trimmed':
      log.baseIndex = event.baseIndex;
      return [];
    case 'letGone':
      if (event.reign !== state.core.unreleasedReign) return [];
      state.core.unreleasedReign = 0;
      return answer(state);
    case 'link':
      if (!event.up && event.peer.nodeId === state.heard?.from) {
        state.heard = undefined;
        state.takingIn.saidIndex = undefined;
      }
      return [];
    case 'tick':
      return followTaking(state, nowMs) ? answer(state) : [];
    // The rest is a primary's business, or came too late for one.
    case 'state':
    case 'ended':
    case 'assigned':
    case 'applied':
    case 'streamed':
    case 'proposed':
    case 'wantSync':
    case 'trimming':
      return [];
  }
}

function isPrimaryFrame(frame: { readonly kind: string }): frame is PrimaryFrame {
  return (
    frame.kind === 'heartbeat' ||
    frame.kind === 'append' ||
    frame.kind === 'truncate' ||
    frame.kind === 'reset'
  );
}

function onFrame(
  state: BackupState,
  from: MemberIdentity,
  frame: PrimaryFrame,
  records: readonly LoggedRecord[],
  nowMs: number,
): ReplicaEffect[] {
  const { core } = state;
  if (frame.epoch < core.epoch) {
    const { groupId: group, epoch, primary } = core;
    return [{ kind: 'send', to: from.nodeId, frame: { kind: 'reject', group, epoch, primary } }];
  }
  const effects: ReplicaEffect[] = [];
  if (frame.epoch === core.epoch && core.primary !== '' && core.primary !== from.nodeId) {
    return [complaint('replication.second-primary', { epoch: frame.epoch, from: from.nodeId })];
  }
  const mustPersist = frame.epoch > core.epoch || frame.leaseMs !== core.leaseMs;
  core.epoch = frame.epoch;
  core.primary = from.nodeId;
  core.leaseMs = frame.leaseMs;
  // Nothing may be said under an epoch, nor a grant given, that a restart could forget.
  if (mustPersist) effects.push(persistEffect(core));
  core.grants = withGrant(core.grants, from, nowMs + grantMs(frame.leaseMs), nowMs);
  const { reign, sentAtMs, leaseMs, commitIndex, syncIndex } = frame;
  state.heard = { from: from.nodeId, reign, sentAtMs, leaseMs, commitIndex, syncIndex };
  if (state.alignedReign !== reign) state.alignedReign = 0;
  // Space may have been made; the primary sends again when we no longer say that there is none.
  if (nowMs - (state.fullSinceMs ?? nowMs) >= FULL_RETRY_MS) state.fullSinceMs = undefined;
  effects.push(...onAccepted(state, frame, records), ...advance(state));
  return effects;
}

function onAccepted(
  state: BackupState,
  frame: PrimaryFrame,
  records: readonly LoggedRecord[],
): ReplicaEffect[] {
  switch (frame.kind) {
    case 'heartbeat':
      return answer(state);
    case 'append':
      return onAppend(state, frame, records);
    case 'truncate':
      return onTruncate(state, frame);
    case 'reset':
      return onReset(state, frame);
  }
}

function onAppend(state: BackupState, frame: AppendFrame, records: readonly LoggedRecord[]): ReplicaEffect[] {
  const { core } = state;
  const { log } = core;
  if (state.alignedReign === 0) {
    const follows =
      frame.firstIndex === log.nextIndex && frame.previousEpoch === epochAt(log.epochs, frame.firstIndex - 1);
    if (!follows) return answer(state);
    state.alignedReign = frame.reign;
  }
  // Aligned: what we already have of these records is the same, and what we lack must follow at once.
  const known = log.nextIndex - frame.firstIndex;
  if (known < 0) return positionAnswer(state);
  if (known >= records.length || sparesReserve(core)) return answer(state);
  const fresh = records.slice(known);
  noteTaken(state, fresh);
  const epochs = epochsAfter(log.epochs, log.nextIndex, fresh);
  if (epochs === undefined) {
    return [complaint('replication.bad-record', { firstIndex: frame.firstIndex, reign: frame.reign })];
  }
  const effects: ReplicaEffect[] = [];
  log.epochs = epochs;
  // The table on disk must never lack an epoch that the log has, nor keep one that was cut off with its
  // records, or never got any, once others take their place.
  if (epochs !== log.persistedEpochs) effects.push(persistEffect(core));
  const firstIndex = log.nextIndex;
  log.nextIndex += fresh.length;
  effects.push({
    kind: 'append',
    cut: log.cut,
    firstIndex,
    records: fresh,
  });
  return effects;
}

/**
 * Nobody waits for one outside the set, so it leaves half of the reserve to the rest of the node. It takes what fits in
 * the other: where clients have given up much, that is little, and makes room.
 */
function sparesReserve({ room, told, epoch }: ReplicaCore): boolean {
  return room.isSpent && told.epoch >= epoch && !told.inSync;
}

/** The primary is to know at once, not with the next heartbeat. */
function onRoom(state: BackupState, room: DiskRoom): ReplicaEffect[] {
  state.core.room = room;
  return answer(state);
}

/** The table with those records added; undefined when they contradict it. */
function epochsAfter(
  epochs: readonly EpochEntry[],
  firstIndex: number,
  records: readonly LoggedRecord[],
): readonly EpochEntry[] | undefined {
  let table = epochs;
  for (const [i, { record }] of records.entries()) {
    const last = table.at(-1)?.epoch ?? 0;
    if (record.kind === 'epochStart') {
      if (record.epoch <= last) return undefined;
      table = withEpoch(table, { epoch: record.epoch, startIndex: firstIndex + i });
    } else if (record.epoch !== last) {
      return undefined;
    }
  }
  return table;
}

function onTruncate(state: BackupState, frame: TruncateFrame): ReplicaEffect[] {
  const { core } = state;
  const { log } = core;
  // A repeated order could cut what has been taken from this very primary since.
  if (state.alignedReign !== 0 || frame.fromIndex > log.nextIndex) return answer(state);
  // What our list of LUNs knows of would be lost to the log: it has to be another list.
  if (frame.fromIndex < log.lunsIndex) {
    state.startsOverIn = frame.reign;
    return positionAnswer(state);
  }
  // Records that stay must be in the file first; once they are, our position is told anew.
  if (frame.fromIndex > log.appendedIndex) return [];
  const effects: ReplicaEffect[] = [];
  if (frame.fromIndex < log.commitIndex) {
    const fields = { from: frame.fromIndex, committed: log.commitIndex };
    const refusal = holdsToCommitted(core, frame.epoch, 'replication.refused-truncate', fields);
    if (refusal !== undefined) return refusal;
    effects.push(complaint('replication.gave-up-committed', fields));
    log.commitIndex = frame.fromIndex;
  }
  log.cut++;
  log.nextIndex = frame.fromIndex;
  log.appendedIndex = frame.fromIndex;
  log.durableIndex = Math.min(log.durableIndex, frame.fromIndex);
  log.epochs = epochsBefore(log.epochs, frame.fromIndex);
  state.alignedReign = frame.reign;
  effects.push({ kind: 'truncate', fromIndex: frame.fromIndex }, persistEffect(core), ...answer(state));
  return effects;
}

/**
 * A primary lacks what this member knows to be committed. That may be only where the cluster has it reign without this
 * one: the last in-sync copy lost its power before it was told to flush, or an administrator has taken the loss upon
 * himself. Whoever is in sync holds to what it knows; who has not heard of that epoch yet says nothing and is asked again.
 * @returns undefined: to be given up
 */
function holdsToCommitted(
  { told }: ReplicaCore,
  epoch: number,
  event: string,
  fields: Readonly<Record<string, unknown>>,
): ReplicaEffect[] | undefined {
  if (told.epoch < epoch) return [];
  return told.inSync ? [complaint(event, fields)] : undefined;
}

function onReset(state: BackupState, frame: ResetFrame): ReplicaEffect[] {
  const { log } = state.core;
  if (state.alignedReign !== 0 && log.nextIndex >= frame.baseIndex) return answer(state);
  const effects: ReplicaEffect[] = [];
  if (frame.baseIndex < log.commitIndex) {
    const fields = { base: frame.baseIndex, committed: log.commitIndex };
    const refusal = holdsToCommitted(state.core, frame.epoch, 'replication.refused-reset', fields);
    if (refusal !== undefined) return refusal;
    effects.push(complaint('replication.gave-up-committed', fields));
  }
  const { baseIndex, epochs, snapshot } = frame;
  log.cut++;
  log.baseIndex = baseIndex;
  log.lunsIndex = Math.max(baseIndex, decodeLuns(snapshot).lunsIndex);
  state.startsOverIn = 0;
  log.nextIndex = baseIndex;
  log.appendedIndex = baseIndex;
  log.durableIndex = baseIndex;
  log.commitIndex = baseIndex;
  log.epochs = epochs;
  log.persistedEpochs = epochs;
  state.core.imagesReady = false;
  state.alignedReign = frame.reign;
  effects.push({ kind: 'reset', baseIndex, epochs, snapshot }, ...answer(state));
  return effects;
}

function afterAppend(state: BackupState): ReplicaEffect[] {
  const { log } = state.core;
  const effects = advance(state);
  // Where all of it is to be durable, one answer after the sync says both.
  const syncFirst =
    (state.heard?.syncIndex ?? 0) >= log.appendedIndex && log.durableIndex < log.appendedIndex;
  if (!syncFirst) effects.push(...answer(state));
  return effects;
}

/** Follows the primary's commit and sync marks as far as our own log reaches. */
function advance(state: BackupState): ReplicaEffect[] {
  const { log } = state.core;
  const { heard } = state;
  if (heard === undefined || state.alignedReign !== heard.reign) return [];
  const effects: ReplicaEffect[] = [];
  const commitIndex = Math.min(heard.commitIndex, log.appendedIndex);
  if (commitIndex > log.commitIndex) {
    log.commitIndex = commitIndex;
    effects.push({ kind: 'commit' });
  }
  // What the list of LUNs knows of is of use only once all of it is durable.
  const listIndex = log.appendedIndex >= log.lunsIndex ? log.lunsIndex : 0;
  const index = Math.min(Math.max(heard.syncIndex, listIndex), log.appendedIndex);
  if (index > log.durableIndex) effects.push({ kind: 'sync', index });
  return effects;
}

/** Whether a loss of power could still take away what the list of LUNs knows of. */
function lacksDurable({ durableIndex, lunsIndex }: LogView): boolean {
  return durableIndex < lunsIndex;
}

/** Says where we stand, with a lease for the newest frame heard. */
function answer(state: BackupState): ReplicaEffect[] {
  const { heard } = state;
  if (heard === undefined) return [];
  if (state.alignedReign !== heard.reign) return positionAnswer(state);
  const { log } = state.core;
  // Until then it counts as one that has not caught up, and so not as a copy.
  const endIndex = lacksDurable(log) ? Math.min(log.appendedIndex, log.lunsIndex - 1) : log.appendedIndex;
  const nextIndex = indexToSay(state, endIndex);
  return [
    {
      kind: 'send',
      to: heard.from,
      frame: { kind: 'ack', ...commonFields(state, heard), nextIndex },
    },
  ];
}

function positionAnswer(state: BackupState): ReplicaEffect[] {
  const { heard } = state;
  if (heard === undefined) return [];
  state.takingIn.saidIndex = undefined;
  // Nothing of it agrees with the primary's log, as far as that is concerned.
  const startsOver = state.startsOverIn === heard.reign;
  const { nextIndex, epochs } = startsOver ? { nextIndex: 0, epochs: [] } : state.core.log;
  return [
    {
      kind: 'send',
      to: heard.from,
      frame: { kind: 'position', ...commonFields(state, heard), nextIndex, epochs },
    },
  ];
}

function commonFields(state: BackupState, heard: Heard) {
  const { core } = state;
  return {
    group: core.groupId,
    epoch: core.epoch,
    reign: heard.reign,
    echoMs: heard.sentAtMs,
    leaseMs: heard.leaseMs,
    durableIndex: core.log.durableIndex,
    imagesReady: core.imagesReady,
    full: state.fullSinceMs !== undefined || sparesReserve(core),
    low: core.room.isLow,
    filling: core.room.isFilling,
    takesVoids: true,
    released: core.unreleasedReign === 0,
  };
}

function complaint(event: string, fields: Readonly<Record<string, unknown>>): ReplicaEffect {
  return { kind: 'complain', event, fields };
}
