import { describe, expect, it } from 'vitest';
import { MAX_FREE_SLABS, RECORD_SLAB_BYTES } from '../../../../storage/lun/limits.ts';
import type { LoggedRecord } from '../../../../storage/lun/log-record.ts';
import { RecordMemory } from '../../../../storage/lun/record-memory.ts';
import { TAIL_CACHE_BYTES } from '../../../../storage/replication/limits.ts';
import { TailCache } from '../../../../storage/replication/tail-cache.ts';

/** Two of them fit into a slab. */
const RECORD_BYTES = RECORD_SLAB_BYTES / 2;

function setup() {
  const memory = new RecordMemory();
  const tail = new TailCache((slab) => memory.giveBack(slab));
  /** As a write does: built, placed, and given back when it has taken effect. */
  const write = (index: number): Uint8Array => {
    const { bytes: payload, slab } = memory.take(RECORD_BYTES);
    payload.fill(index);
    const record = { kind: 'discard', epoch: 1, lunId: 1, firstBlock: 0, blockCount: 1 } as const;
    const logged: LoggedRecord = { payload, record, slab };
    tail.add(index, logged);
    if (slab !== undefined) memory.giveBack(slab);
    return payload;
  };
  return { tail, write };
}

describe('the newest records of the log', () => {
  it('keep their memory for as long as they may be sent', () => {
    const { tail, write } = setup();
    for (let index = 1; index <= 2 * (MAX_FREE_SLABS + 3); index++) write(index);
    for (let index = 1; index <= 2 * (MAX_FREE_SLABS + 3); index++) {
      expect(tail.take(index, 1)?.map((payload) => payload[0])).toEqual([index]);
    }
  });

  it('give it back once every member has them', () => {
    const { tail, write } = setup();
    const first = write(1);
    for (let index = 2; index <= 4; index++) write(index);
    tail.dropBefore(3);
    expect(tail.take(2, 1)).toBeUndefined();
    expect(tail.take(3, 1)?.[0]?.[0]).toBe(3);
    expect(write(5).buffer).toBe(first.buffer);
    expect(tail.take(3, RECORD_SLAB_BYTES * 2)?.map((payload) => payload[0])).toEqual([3, 4, 5]);
  });

  it('go by age where a member lags, and by a new beginning', () => {
    const { tail, write } = setup();
    const count = TAIL_CACHE_BYTES / RECORD_BYTES + 4;
    for (let index = 1; index <= count; index++) write(index);
    expect(tail.take(1, 1)).toBeUndefined();
    const kept = Math.floor(TAIL_CACHE_BYTES / RECORD_BYTES);
    expect(tail.take(Math.ceil(count - kept) + 1, 1)).toHaveLength(1);
    write(1_000);
    expect(tail.take(Math.floor(count), 1)).toBeUndefined();
    expect(tail.take(1_000, 1)).toHaveLength(1);
  });
});
