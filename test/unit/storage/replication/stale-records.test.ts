import { expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { crc32c } from '../../../../base/crc32c.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { PeerTransport } from '../../../../base/peer-transport.ts';
import type { MendableLog } from '../../../../base/record-log.ts';
import { encodeControlRecord } from '../../../../storage/lun/log-record.ts';
import type { LogView } from '../../../../storage/replication/core.ts';
import { decodeFrame, type RecordFrame } from '../../../../storage/replication/frame.ts';
import { RecordMender } from '../../../../storage/replication/record-mender.ts';
import { eventually } from '../../../support/real-time.ts';

const INDEX = 12;
const discard = (epoch: number) =>
  encodeControlRecord({ kind: 'discard', epoch, lunId: 1, firstBlock: 0, blockCount: 1 });

/** A member whose records from 10 on are of that epoch. */
function memberWith(epoch: number) {
  const sent: RecordFrame[] = [];
  const asked: string[] = [];
  const counters = new CounterSet();
  const mended: Uint8Array[] = [];
  const log = {
    firstIndex: 1,
    read: () => Promise.resolve(discard(epoch)),
    verify: () => Promise.resolve({ nextIndex: INDEX + 1, readBytes: 1, damaged: [] }),
    mend: (_: number, [payload]: readonly Uint8Array[]) => {
      mended.push(payload as Uint8Array);
      return Promise.resolve(true);
    },
  } as unknown as MendableLog;
  const mender = new RecordMender({
    groupId: 'g',
    log,
    view: { epochs: [{ epoch, startIndex: 10 }], appendedIndex: 20, commitIndex: 20 } as unknown as LogView,
    transport: {
      send: (to: string, parts: readonly Uint8Array[]) => {
        const frame = decodeFrame(Buffer.concat(parts));
        if (frame.kind === 'record') sent.push(frame);
        else asked.push(to);
        return true;
      },
    } as unknown as PeerTransport,
    others: () => ['stale', 'sound'],
    timers: new ManualClock(),
    logger: silentLogger,
    counters,
    onFailure: (error) => {
      throw error;
    },
  });
  return { mender, sent, asked, counters, mended };
}

it('a member gives no record of another epoch than it is asked for', async () => {
  const { mender, sent } = memberWith(5);
  mender.receive('b', { kind: 'recordRequest', group: 'g', epoch: 4, index: INDEX });
  mender.receive('b', { kind: 'recordRequest', group: 'g', epoch: 5, index: INDEX });
  await eventually('both are answered', () => sent.length === 2);
  const given = new Map(sent.map(({ epoch, payload }) => [epoch, payload]));
  expect(given.get(4)).toBeUndefined();
  expect(Buffer.compare(given.get(5) ?? Buffer.alloc(0), discard(5))).toBe(0);
});

it('a member mends nothing with a record of another epoch, whoever gives it', async () => {
  const { mender, asked, counters, mended } = memberWith(5);
  mender.note([{ firstIndex: INDEX, count: 1, reason: 'a bit turned over' }]);
  const give = (from: string, epoch: number): void =>
    mender.receive(from, {
      ...{ kind: 'record', group: 'g', epoch: 5, index: INDEX },
      ...{ payload: discard(epoch), crc: crc32c(discard(epoch)) },
    });
  await eventually('the first one is asked', () => asked.length === 1);
  give('stale', 4);
  await eventually('the other one is asked', () => asked.length === 2);
  give('sound', 5);
  await eventually('it is mended', () => mended.length === 1);
  expect(asked).toEqual(['stale', 'sound']);
  expect(counters.get('replication.record-refused')).toBe(1);
  expect(mended).toEqual([discard(5)]);
  await mender.stop();
});
