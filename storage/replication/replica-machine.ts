import { stepBackup } from './backup-machine.ts';
import { type BackupState, newBackup } from './backup-state.ts';
import { persistEffect, type ReplicaCore, type ReplicaEffect, type ReplicaEvent } from './core.ts';
import { withoutForgotten, withoutGrant } from './grants.ts';
import { isInSync, sameMember } from './group-state.ts';
import { CATCH_UP_MAX_BYTES_PER_SECOND } from './limits.ts';
import { whoHandedOver } from './own-disk.ts';
import { stepPrimary, takeOffice } from './primary-machine.ts';
import type { PrimaryState } from './primary-state.ts';

/** One member of one portal group: a primary by the cluster's word, else a backup. */
export interface ReplicaState {
  readonly core: ReplicaCore;
  backup: BackupState;
  primary: PrimaryState | undefined;
}

export function newReplica(core: ReplicaCore): ReplicaState {
  return { core, backup: newBackup(core), primary: undefined };
}

/**
 * Changes `state` and says what to do, in order.
 * @param nowMs monotonic
 * @param appliedIndex records below have taken effect in the table of LUNs
 */
export function stepReplica(
  state: ReplicaState,
  event: ReplicaEvent,
  nowMs: number,
  appliedIndex: number,
): ReplicaEffect[] {
  const { core } = state;
  if (event.kind === 'link') {
    const { nodeId, incarnation } = event.peer;
    const known = core.links.get(nodeId);
    // The end of an earlier process's link says nothing about the present one's.
    if (!event.up && known !== undefined && known.incarnation !== incarnation) return [];
    core.links.set(nodeId, { incarnation, up: event.up, sinceMs: nowMs });
  }
  if (event.kind === 'ended') {
    core.ended.set(event.peer.nodeId, event.peer.incarnation);
    // It serves nothing any more, whatever it was granted.
    core.grants = withoutGrant(core.grants, event.peer);
  }
  // A frame of a process that has ended would have it granted another lease.
  if (event.kind === 'frame' && core.ended.get(event.from.nodeId) === event.from.incarnation) return [];
  if (event.kind === 'trimming') {
    const { log } = core;
    log.lunsIndex = Math.max(log.lunsIndex, event.lunsIndex);
    log.durableIndex = Math.max(log.durableIndex, event.lunsIndex);
  }
  const effects: ReplicaEffect[] = [];
  if (event.kind === 'state') effects.push(...onState(state, event, nowMs, appliedIndex));
  if (event.kind === 'frame') effects.push(...giveWay(state, event));
  if (state.primary === undefined) {
    effects.push(...stepBackup(state.backup, event, nowMs));
  } else {
    state.primary.appliedIndex = appliedIndex;
    effects.push(...stepPrimary(state.primary, event, nowMs));
  }
  return effects;
}

function onState(
  state: ReplicaState,
  event: Extract<ReplicaEvent, { kind: 'state' }>,
  nowMs: number,
  appliedIndex: number,
): ReplicaEffect[] {
  const { core } = state;
  const { group } = event;
  core.catchUpBytesPerSecond = event.catchUpBytesPerSecond ?? CATCH_UP_MAX_BYTES_PER_SECOND;
  noteLetIn(core, event);
  if (group.epoch < core.epoch) return [];
  const inSync = isInSync(group, core.self);
  core.told = { epoch: group.epoch, inSync };
  const isPrimary = group.primary === core.self.nodeId && inSync;
  if (isPrimary && state.primary !== undefined) return [];
  if (!isPrimary) {
    const risen = group.epoch > core.epoch;
    core.epoch = group.epoch;
    if (risen || core.primary === '') core.primary = group.primary ?? '';
    return [...resign(state), ...(risen ? [persistEffect(core)] : [])];
  }
  const lastReign = core.log.epochs.at(-1)?.epoch ?? 0;
  if (lastReign >= group.epoch) {
    // Two parts of a log must never bear one epoch: they could not be told apart.
    const fields = { group: group.id, epoch: group.epoch, lastReign };
    return [{ kind: 'complain', event: 'replication.epoch-reused', fields }];
  }
  const shortened: ReplicaEffect[] = [];
  if (core.log.nextIndex < core.log.lunsIndex && lastReign < (group.lossAcceptedEpoch ?? 0)) {
    // The group was started from this very copy, and what it lacks is given up.
    core.log.lunsIndex = core.log.nextIndex;
    shortened.push({ kind: 'shortenList', cut: core.log.cut, lunsIndex: core.log.nextIndex });
  }
  if (core.log.nextIndex < core.log.lunsIndex) {
    // Its log has lost, or has not been given yet, records that its list of LUNs knows of.
    const fields = { group: group.id, next: core.log.nextIndex, needed: core.log.lunsIndex };
    return [{ kind: 'complain', event: 'replication.copy-incomplete', fields }];
  }
  const handedOverBy = whoHandedOver(core.primary, group, event.nodes, core.grants);
  core.epoch = group.epoch;
  core.primary = core.self.nodeId;
  core.leaseMs = Math.max(core.leaseMs, event.leaseMs);
  const { nodes } = event;
  const { state: primary, effects } = takeOffice(core, { group, nodes, appliedIndex, handedOverBy }, nowMs);
  state.primary = primary;
  return [...shortened, ...effects];
}

/**
 * A process that was out of the set when the cluster knew of it already, and is in it now, was let in by a primary that
 * served, and whose lease has hung on this very process since before that was proposed. When that one began to serve, nobody
 * else did any more. So nobody serves on the strength of what an earlier process of this node granted. Not so where an
 * administrator has put it in, where the group went on from its copy as the last one in the set was damaged, or where it has
 * been in the set since it registered.
 */
function noteLetIn(core: ReplicaCore, { group, nodes }: Extract<ReplicaEvent, { kind: 'state' }>): void {
  if (isInSync(group, core.self)) {
    const putInEpoch = Math.max(group.lossAcceptedEpoch ?? 0, group.resumedEpoch ?? 0);
    const wasLetIn = core.countedOutEpoch > 0 && putInEpoch <= core.countedOutEpoch;
    if (wasLetIn) core.grants = withoutForgotten(core.grants);
  } else if (nodes.some((node) => sameMember(node, core.self))) {
    core.countedOutEpoch = group.epoch;
  }
}

/** A frame under a higher epoch ends this one, unless it says that we are primary in that one as well. */
function giveWay(state: ReplicaState, event: Extract<ReplicaEvent, { kind: 'frame' }>): ReplicaEffect[] {
  const { core } = state;
  const { frame } = event;
  if (state.primary === undefined || frame.epoch <= core.epoch) return [];
  if (frame.kind === 'ack' || frame.kind === 'position') return [];
  if (frame.kind === 'reject') {
    if (frame.primary === core.self.nodeId) return [];
    core.epoch = frame.epoch;
    core.primary = frame.primary;
    return [...resign(state), persistEffect(core)];
  }
  return resign(state);
}

/** From here on this process serves nothing in that reign, whatever it is told. */
function resign(state: ReplicaState): ReplicaEffect[] {
  const { primary, core } = state;
  if (primary === undefined) return [];
  state.primary = undefined;
  state.backup = newBackup(core);
  return [{ kind: 'letGo', reign: primary.reign }];
}
