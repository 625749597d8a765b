import { describe, expect, it } from 'vitest';
import { DeviceError } from '../../../../storage/block-device.ts';
import { PendingWrites } from '../../../../storage/replication/pending-writes.ts';

const gone = (): DeviceError => new DeviceError('not-serving', 'no longer');

interface Told {
  readonly name: string;
  readonly error: DeviceError | undefined;
}

/** Writes of one record each, numbered from 0, and what was told of their ends in order. */
function numbered(pending: PendingWrites) {
  let next = 0;
  const told: Told[] = [];
  const add = (name: string, then: () => void = () => {}): void => {
    next++;
    pending.add({
      lunId: 1,
      endIndex: next,
      lengthBytes: 4096,
      forceUnitAccess: false,
      records: [],
      ended: (error) => {
        told.push({ name, error });
        then();
      },
    });
  };
  return { told, add, names: () => told.map(({ name }) => name) };
}

describe('writes that wait for their end', () => {
  it('are told in the order of the log, as far as it is committed', () => {
    const pending = new PendingWrites(() => {});
    const { add, names } = numbered(pending);
    for (const name of ['a', 'b', 'c']) add(name);
    pending.onCommitted(2, 0);
    expect([names(), pending.count]).toEqual([['a', 'b'], 1]);
  });

  it('may be followed by others from within what is told', () => {
    const pending = new PendingWrites(() => {});
    const { add, names } = numbered(pending);
    add('a', () => add('c'));
    add('b');
    pending.onCommitted(2, 0);
    expect([names(), pending.count]).toEqual([['a', 'b'], 1]);
    pending.onCommitted(3, 0);
    expect([names(), pending.count]).toEqual([['a', 'b', 'c'], 0]);
  });

  it('are each told once, whatever what is told leads to', () => {
    const pending = new PendingWrites(() => {});
    const { add, names, told } = numbered(pending);
    add('a', () => pending.onCommitted(2, 0));
    add('b', () => pending.failAll(gone));
    add('c');
    pending.onCommitted(3, 0);
    expect(names()).toEqual(['a', 'b', 'c']);
    expect(told[2]?.error).toMatchObject({ kind: 'not-serving' });
    add('d');
    pending.onCommitted(4, 0);
    expect([names().at(-1), told.at(-1)?.error, pending.count]).toEqual(['d', undefined, 0]);
  });
});
