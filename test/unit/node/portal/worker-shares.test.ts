import { describe, expect, it } from 'vitest';
import { WorkerShares } from '../../../../node/portal/worker-shares.ts';

const MIB = 1024 * 1024;

describe('what the workers of a node share', () => {
  it('is to each the sum of what the others have told last, and the worst of how clients fare', () => {
    const memory = WorkerShares.memoryFor(3);
    const [a, b, c] = [0, 1, 2].map((worker) => new WorkerShares(memory, worker)) as [
      WorkerShares,
      WorkerShares,
      WorkerShares,
    ];
    const none = { groups: 0, floorBytesPerSecond: 0 };
    expect(a.others()).toEqual({ clients: 0, sending: none, taking: none, compactions: 0 });
    const sending = { groups: 2, floorBytesPerSecond: 1024 * MIB };
    a.tell({ clients: 0, sending, taking: { groups: 1, floorBytesPerSecond: 100 }, compactions: 5 });
    b.tell({ clients: 2, sending, taking: none, compactions: 0 });
    expect(a.others()).toEqual({ clients: 2, sending, taking: none, compactions: 0 });
    expect(b.others()).toMatchObject({ clients: 0, compactions: 5 });
    expect(c.others()).toEqual({
      clients: 2,
      sending: { groups: 4, floorBytesPerSecond: 2048 * MIB },
      taking: { groups: 1, floorBytesPerSecond: 1024 },
      compactions: 5,
    });
    b.tell({ clients: 1, sending: none, taking: none, compactions: 0 });
    expect(c.others()).toMatchObject({ clients: 1, sending });
  });
});
