import { expect, it } from 'vitest';
import { loggedControl } from '../../../../storage/lun/log-record.ts';
import type { LunTable } from '../../../../storage/lun/lun-table.ts';
import type { LogView, ReplicaEvent } from '../../../../storage/replication/core.ts';
import type { PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { WritePath, type WritePathOptions } from '../../../../storage/replication/write-path.ts';

const SELF = { nodeId: 'a', incarnation: 'a.1' };

it('no write is answered before it has taken effect, nor before it is committed', async () => {
  const view = { nextIndex: 10, commitIndex: 10, cut: 0 } as LogView;
  const table = { appliedIndex: 10 };
  const core = { log: { durableIndex: 0 }, self: SELF, faults: {}, epoch: 1, persistedEpoch: 1 };
  const primary = { phase: 'serving', group: { inSync: [SELF], minInSync: 1 }, core, joining: undefined };
  const path = new WritePath({
    view,
    table: table as LunTable,
    writer: { append: () => {} },
    nowMs: () => 0,
    isDiskLow: () => false,
    isDiskFilling: () => false,
    primary: () => primary as unknown as PrimaryState,
    durability: () => 'write-back',
    step: (event: ReplicaEvent) => {
      if (event.kind === 'assigned') view.nextIndex = event.nextIndex;
    },
    areOthersIdle: () => false,
  } as unknown as WritePathOptions);
  const ends: number[] = [];
  const record = loggedControl({ kind: 'dropLun', epoch: 1, lunId: 1 });
  for (const i of [1, 2]) path.submit([record], false, () => ends.push(i));
  await Promise.resolve();
  expect(view.nextIndex).toBe(12);
  const settled = (commitIndex: number, appliedIndex: number): number[] => {
    Object.assign(view, { commitIndex });
    table.appliedIndex = appliedIndex;
    path.settle();
    return ends;
  };
  // The log may have to be read for it to take effect.
  expect(settled(12, 10)).toEqual([]);
  expect(settled(12, 11)).toEqual([1]);
  // A table that has gone ahead, by a checkpoint that knew more.
  expect(settled(11, 12)).toEqual([1]);
  expect(settled(12, 12)).toEqual([1, 2]);
});
