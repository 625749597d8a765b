import { decodeGroupRecord, encodeControlRecord } from '../../../../storage/lun/log-record.ts';
import {
  type MembershipChange,
  type ReplicaCore,
  type ReplicaEffect,
  type ReplicaEvent,
  ROOM_ENOUGH,
} from '../../../../storage/replication/core.ts';
import type { Frame, MemberFrame } from '../../../../storage/replication/frame.ts';
import type { PortalGroupState, ReplicationNode } from '../../../../storage/replication/group-state.ts';
import { CATCH_UP_MAX_BYTES_PER_SECOND, TICK_MS } from '../../../../storage/replication/limits.ts';
import { NodePace } from '../../../../storage/replication/node-pace.ts';
import type { PortalGroupStatus } from '../../../../storage/replication/portal-group.ts';
import type { PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { newReplica, stepReplica } from '../../../../storage/replication/replica-machine.ts';
import { replicaStatus } from '../../../../storage/replication/replica-status.ts';

export const LEASE_MS = 800;
/** What all messages of primary "b" in epoch 4 say. */
export const COMMON = {
  group: 'g',
  epoch: 4,
  reign: 4,
  sentAtMs: 5,
  leaseMs: LEASE_MS,
  commitIndex: 1,
  syncIndex: 0,
};
/** With which its reign begins. */
export const EPOCH_START = encodeControlRecord({ kind: 'epochStart', epoch: 4, primary: 'b' });
export const identity = (nodeId: string) => ({ nodeId, incarnation: `${nodeId}.1` });
const nodes: ReplicationNode[] = ['a', 'b', 'c'].map((id) => ({ ...identity(id), status: 'up' }));

export function group(epoch: number, primary: string, inSync: string[], minInSync = 1): PortalGroupState {
  const replicas = ['a', 'b', 'c'];
  const members = inSync.map(identity);
  return { id: 'g', epoch, primary, inSync: members, replicas, minInSync, durability: 'write-back' };
}

/** Member "a", driven by hand; appends and syncs are done as soon as they are asked for, unless told otherwise. */
export class Driver {
  nowMs = 1_000;
  readonly core: ReplicaCore;
  readonly #state;
  effects: ReplicaEffect[] = [];
  appliedIndex = 1;
  /** False: the disk takes its time, and the test says when an append has ended. */
  appendsAtOnce = true;

  /** @param pace of the node, whose groups may have a driver each */
  constructor(
    epochs: { epoch: number; startIndex: number }[] = [],
    nextIndex = 1,
    pace: NodePace = new NodePace(),
  ) {
    this.core = {
      groupId: 'g',
      self: identity('a'),
      epoch: epochs.at(-1)?.epoch ?? 0,
      persistedEpoch: epochs.at(-1)?.epoch ?? 0,
      primary: '',
      leaseMs: LEASE_MS,
      told: { epoch: 0, inSync: false },
      countedOutEpoch: 0,
      grants: [],
      unreleasedReign: 0,
      log: {
        baseIndex: 1,
        lunsIndex: 1,
        nextIndex,
        appendedIndex: nextIndex,
        durableIndex: nextIndex,
        commitIndex: 1,
        epochs,
        persistedEpochs: epochs,
        cut: 0,
      },
      catchUpBytesPerSecond: CATCH_UP_MAX_BYTES_PER_SECOND,
      pace: pace.enter(),
      links: new Map(),
      ended: new Map(),
      imagesReady: true,
      room: ROOM_ENOUGH,
      faults: {},
    };
    this.#state = newReplica(this.core);
    for (const nodeId of ['b', 'c']) this.step({ kind: 'link', peer: identity(nodeId), up: true });
  }

  get primary(): PrimaryState | undefined {
    return this.#state.primary;
  }

  status(): PortalGroupStatus {
    return replicaStatus(this.#state, this.nowMs);
  }

  step(event: ReplicaEvent): ReplicaEffect[] {
    const effects = stepReplica(this.#state, event, this.nowMs, this.appliedIndex);
    this.effects = [...effects];
    for (const effect of effects) {
      if ((effect.kind === 'append' || effect.kind === 'beginEpoch') && this.appendsAtOnce) {
        const appendedIndex = this.core.log.nextIndex;
        effects.push(...this.#again({ kind: 'appended', cut: this.core.log.cut, appendedIndex }));
      } else if (effect.kind === 'persist') {
        this.core.persistedEpoch = effect.epoch;
      } else if (effect.kind === 'sync') {
        const durableIndex = this.core.log.appendedIndex;
        effects.push(...this.#again({ kind: 'synced', cut: this.core.log.cut, durableIndex }));
      } else if (effect.kind === 'commit') {
        this.appliedIndex = this.core.log.commitIndex;
        effects.push(...this.#again({ kind: 'applied' }));
      }
    }
    this.effects = effects;
    return effects;
  }

  #again(event: ReplicaEvent): ReplicaEffect[] {
    return stepReplica(this.#state, event, this.nowMs, this.appliedIndex);
  }

  state(state: PortalGroupState, catchUpBytesPerSecond?: number): ReplicaEffect[] {
    const pace = catchUpBytesPerSecond === undefined ? {} : { catchUpBytesPerSecond };
    return this.step({ kind: 'state', group: state, nodes, leaseMs: LEASE_MS, ...pace });
  }

  frame(from: string, frame: Frame): ReplicaEffect[] {
    const payloads = frame.kind === 'append' ? frame.records : [];
    const records = payloads.map((payload) => ({ payload, record: decodeGroupRecord(payload) }));
    return this.step({ kind: 'frame', from: identity(from), frame, records });
  }

  /** Answers as a member that has all there is up to `nextIndex`. */
  ack(from: string, nextIndex: number, more: Partial<MemberFrame> = {}): ReplicaEffect[] {
    const reign = this.primary?.reign ?? 0;
    const frame = {
      kind: 'ack',
      group: 'g',
      epoch: this.core.epoch,
      reign,
      echoMs: this.nowMs,
      leaseMs: LEASE_MS,
      nextIndex,
      durableIndex: nextIndex,
      imagesReady: true,
      full: false,
      low: false,
      filling: false,
      takesVoids: false,
      released: false,
      ...more,
    } as Frame;
    return this.frame(from, frame);
  }

  tick(byMs = TICK_MS): ReplicaEffect[] {
    this.nowMs += byMs;
    return this.step({ kind: 'tick' });
  }

  /** A write of one record has been given its place and appended here. */
  append(): void {
    this.step({ kind: 'assigned', nextIndex: this.core.log.nextIndex + 1 });
    this.step({ kind: 'appended', cut: this.core.log.cut, appendedIndex: this.core.log.nextIndex });
  }

  sent(kind: Frame['kind']): Frame[] {
    return this.effects.flatMap((e) => (e.kind === 'send' && e.frame.kind === kind ? [e.frame] : []));
  }

  proposed(): MembershipChange[] {
    return this.effects.flatMap((e) => (e.kind === 'propose' ? [e.change] : []));
  }
}

/** Serves with the others of the set, which have everything. */
export function servingPrimary(inSync = ['a', 'b']): Driver {
  const driver = new Driver();
  driver.state(group(3, 'a', inSync));
  for (const nodeId of inSync) if (nodeId !== 'a') driver.ack(nodeId, 2);
  driver.tick();
  return driver;
}
