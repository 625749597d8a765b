import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import { loggedControl } from '../../../../storage/lun/log-record.ts';
import type { LunTable } from '../../../../storage/lun/lun-table.ts';
import type { LogView, ReplicaEvent } from '../../../../storage/replication/core.ts';
import type { ReplicationHost } from '../../../../storage/replication/index.ts';
import { AHEAD_WRITES } from '../../../../storage/replication/limits.ts';
import type { PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { WritePath, type WritePathOptions } from '../../../../storage/replication/write-path.ts';
import { eventually } from '../../../support/real-time.ts';
import { Exchange, makeHost, serving } from '../../../support/replicated-group.ts';

const FIRST = { nodeId: 'n1', incarnation: 'i1' };
const SECOND = { nodeId: 'n2', incarnation: 'i2' };
const BLOCK_BYTES = 4096;
const WRITES = 32;
const NOW = { forceUnitAccess: false };

let directory: string;
const hosts: ReplicationHost[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ahead-'));
});

afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
  await rm(directory, { recursive: true });
});

/** A disk of a group with those members, and what tells how many appends this node has made, all its life. */
async function disk(
  members: readonly { nodeId: string; incarnation: string }[],
): Promise<{ device: BlockDevice; appends: () => number }> {
  const exchange = new Exchange();
  const counters = new CounterSet();
  hosts.push(
    ...members.map((self) => makeHost(directory, self, exchange, self === FIRST ? { counters } : {})),
  );
  await Promise.all(hosts.map((host) => host.start()));
  exchange.connect(members);
  const group = { id: 'g', epoch: 1, primary: 'n1', inSync: members, replicas: members.map((m) => m.nodeId) };
  for (const host of hosts) {
    host.applyClusterState({
      leaseMs: 800,
      groups: [{ ...group, minInSync: 1, durability: 'write-back' }],
      nodes: members.map((m) => ({ ...m, status: 'up' as const })),
    });
  }
  const primary = await serving(hosts[0] as ReplicationHost);
  await primary.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 8 * WRITES });
  const device = primary.openDevice(1) as BlockDevice;
  return { device, appends: () => counters.snapshot()['log.writes'] ?? 0 };
}

/** Begins writes of one block each, in one turn. @returns how many appends were made meanwhile, and for all of it */
async function writeInOneTurn(
  { device, appends }: { device: BlockDevice; appends: () => number },
  stamp: number,
): Promise<{ meanwhile: number; inAll: number }> {
  const before = appends();
  let ended = 0;
  const failures: unknown[] = [];
  for (let i = 0; i < WRITES; i++) {
    const begun = device.beginWrite?.(8 * i, [Buffer.alloc(BLOCK_BYTES, stamp + i)], NOW, (error) => {
      ended++;
      if (error !== undefined) failures.push(error);
    });
    expect(begun).toBe(true);
  }
  const meanwhile = appends() - before;
  expect(ended).toBe(0);
  await eventually('all have ended', () => ended === WRITES);
  expect(failures).toEqual([]);
  for (let i = 0; i < WRITES; i++) {
    const read = Buffer.concat(await device.read(8 * i, 8));
    expect(read.equals(Buffer.alloc(BLOCK_BYTES, stamp + i))).toBe(true);
  }
  return { meanwhile, inAll: appends() - before };
}

describe('writes that arrive in one turn', () => {
  it('go to another member in two parts where it has nothing to do', async () => {
    const two = await disk([FIRST, SECOND]);
    for (let round = 0; round < 3; round++) {
      const { meanwhile, inAll } = await writeInOneTurn(two, round * 50);
      expect(meanwhile).toBe(1);
      expect(inAll).toBe(2);
    }
  });

  it('stay together where they are few, however large', async () => {
    const { device, appends } = await disk([FIRST, SECOND]);
    const blocks = 8 * 4;
    const before = appends();
    let ended = 0;
    for (let i = 0; i < 4; i++) {
      const begun = device.beginWrite?.(blocks * i, [Buffer.alloc(512 * blocks, i)], NOW, () => ended++);
      expect(begun).toBe(true);
    }
    expect(appends() - before).toBe(0);
    await eventually('all have ended', () => ended === 4);
    expect(appends() - before).toBe(1);
  });

  it('stay together where nobody else has to have them', async () => {
    const { meanwhile, inAll } = await writeInOneTurn(await disk([FIRST]), 1);
    expect([meanwhile, inAll]).toEqual([0, 1]);
  });
});

describe('what goes ahead while a write is being begun', () => {
  /** Everything is committed and in effect as soon as it is in the log. */
  function atOnce(): { path: WritePath; events: ReplicaEvent[]; core: { persistedEpoch: number } } {
    const view = { nextIndex: 10, commitIndex: 10, cut: 0 } as LogView;
    const table = { appliedIndex: 10 };
    const events: ReplicaEvent[] = [];
    const core = { log: { durableIndex: 0 }, self: FIRST, faults: {}, epoch: 1, persistedEpoch: 1 };
    const group = { inSync: [FIRST], minInSync: 1 };
    const primary = { phase: 'serving', group, core, joining: undefined } as unknown as PrimaryState;
    const path: WritePath = new WritePath({
      view,
      table: table as LunTable,
      writer: {
        append: (_cut: number, firstIndex: number, records: readonly unknown[]) => {
          view.commitIndex = firstIndex + records.length;
          table.appliedIndex = view.commitIndex;
          path.settle();
        },
      },
      readAt: () => Promise.reject(new Error('nothing is read')),
      soundBlock: () => Promise.resolve(undefined),
      readBegins: () => () => {},
      nowMs: () => 0,
      isDiskLow: () => false,
      isDiskFilling: () => false,
      primary: () => primary,
      durability: () => 'write-back',
      step: (event: ReplicaEvent) => {
        events.push(event);
        if (event.kind === 'assigned') view.nextIndex = event.nextIndex;
      },
      areOthersIdle: () => true,
    } as unknown as WritePathOptions);
    return { path, events, core };
  }

  it('ends no write under an epoch that is not written down yet', async () => {
    const { path, core } = atOnce();
    const ends: unknown[] = [];
    core.persistedEpoch = 0;
    const state = new Uint8Array(1000);
    const record = loggedControl({ kind: 'serverState', epoch: 1, lunId: 1, state });
    path.submit([record], false, (error) => ends.push(error));
    await new Promise(setImmediate);
    path.settle();
    expect(ends).toHaveLength(0);
    core.persistedEpoch = 1;
    path.settle();
    expect(ends).toHaveLength(1);
  });

  it('ends nothing before it has been, and everything right after', async () => {
    const { path, events } = atOnce();
    const ends: number[] = [];
    const state = new Uint8Array(1000);
    const record = loggedControl({ kind: 'serverState', epoch: 1, lunId: 1, state });
    const first = Array.from({ length: AHEAD_WRITES }, (_, i) => i);
    for (const i of first) {
      path.beforeWrite();
      expect(path.submit([record], false, () => ends.push(i))).toBe(10 + i);
    }
    expect(events).toEqual([]);
    path.beforeWrite();
    const nextIndex = 10 + AHEAD_WRITES;
    expect(events).toEqual([{ kind: 'assigned', nextIndex }]);
    expect(ends).toEqual([]);
    expect(path.nextIndex).toBe(nextIndex);
    expect(path.submit([record], false, () => ends.push(AHEAD_WRITES))).toBe(nextIndex);
    path.beforeWrite();
    expect(ends).toEqual([]);
    await Promise.resolve();
    await Promise.resolve();
    expect(ends).toEqual([...first, AHEAD_WRITES]);
    expect(events).toEqual([
      { kind: 'assigned', nextIndex },
      { kind: 'assigned', nextIndex: nextIndex + 1 },
    ]);
  });
});
