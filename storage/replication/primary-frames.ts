import { syncIndexFor } from './catch-up.ts';
import type { ReplicaEffect } from './core.ts';
import { epochAt } from './epoch-table.ts';
import type { PrimaryFrame } from './frame.ts';
import { HEARTBEAT_MS } from './limits.ts';
import type { Member, PrimaryState } from './primary-state.ts';

/** Heartbeats to all that have not been sent anything for long enough. */
export function heartbeats(state: PrimaryState, nowMs: number): ReplicaEffect[] {
  const effects: ReplicaEffect[] = [];
  for (const member of state.members.values()) {
    if (member.linkUp && nowMs - member.lastSentMs >= HEARTBEAT_MS) {
      effects.push(heartbeat(state, member, nowMs));
    }
  }
  return effects;
}

export function heartbeat(state: PrimaryState, member: Member, nowMs: number): ReplicaEffect {
  member.lastSentMs = nowMs;
  return { kind: 'send', to: member.nodeId, frame: { kind: 'heartbeat', ...commonFields(state, nowMs) } };
}

/** The message that carries `records`, the first of which is number `firstIndex`, to that member. */
export function appendFrame(
  state: PrimaryState,
  member: Member,
  { firstIndex, records }: { readonly firstIndex: number; readonly records: readonly Uint8Array[] },
  nowMs: number,
): PrimaryFrame {
  const previousEpoch = epochAt(state.core.log.epochs, firstIndex - 1);
  const common = commonFields(state, nowMs);
  const syncIndex = syncIndexFor(state, member, firstIndex + records.length, common.syncIndex);
  return { kind: 'append', ...common, syncIndex, firstIndex, previousEpoch, records };
}

/** What every frame of a primary begins with. */
export function commonFields(state: PrimaryState, nowMs: number) {
  const { core } = state;
  const { log } = core;
  return {
    group: core.groupId,
    epoch: core.epoch,
    reign: state.reign,
    sentAtMs: nowMs,
    leaseMs: core.leaseMs,
    commitIndex: log.commitIndex,
    syncIndex: state.group.durability === 'durable' ? log.nextIndex : state.syncIndex,
  };
}
