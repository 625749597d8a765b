import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { crc32c } from '../../../../base/crc32c.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { MendableLog } from '../../../../base/record-log.ts';
import { sealWriteRecord, writeHeaderBytes, writeRecordBytes } from '../../../../storage/lun/log-record.ts';
import type { LogView } from '../../../../storage/replication/core.ts';
import { decodeFrame, type RecordRequestFrame } from '../../../../storage/replication/frame.ts';
import { MAX_LOST_BLOCKS } from '../../../../storage/replication/limits.ts';
import { LostBlocks } from '../../../../storage/replication/lost-blocks.ts';
import { RecordMender } from '../../../../storage/replication/record-mender.ts';

const EPOCH = 1;
const INDEX = 5;
const RECORD_AT = 1_000;
const BLOCK_AT = RECORD_AT + writeHeaderBytes(1);
const content = Buffer.alloc(4096, 9);
const CRC = crc32c(content);

function record(): Uint8Array {
  const payload = Buffer.concat([Buffer.alloc(writeHeaderBytes(1)), content]);
  expect(payload.length).toBe(writeRecordBytes(1));
  sealWriteRecord(payload, { epoch: EPOCH, lunId: 1, firstBlock: 0, blockCount: 1 });
  return payload;
}

/** A mender over a log of which one record is damaged; what others have is up to the test. */
class Damaged {
  others: string[] = [];
  /** What those have that are asked. */
  theirs: Uint8Array | undefined;
  located = 0;
  /** What it is put right with is kept by the log. */
  isMendable = false;
  /** What lies in its place. */
  inPlace = Buffer.alloc(content.length, 8);
  /** Answers take their time, and no timer is over before one has come. */
  isSlow = false;
  /** Requests that have not been answered, and the most there were at a time. */
  asking = 0;
  mostAsking = 0;
  readonly counters = new CounterSet();
  readonly mender: RecordMender;

  constructor() {
    const log = {
      firstIndex: 1,
      locate: () => {
        this.located++;
        return Promise.resolve({ firstIndex: INDEX, count: 1, position: RECORD_AT });
      },
      readAt: () => Promise.resolve(this.inPlace),
      mend: () => Promise.resolve(this.isMendable),
      verify: () =>
        Promise.resolve({ nextIndex: INDEX + 1, readBytes: 0, damaged: [{ firstIndex: INDEX, count: 1 }] }),
    } as unknown as MendableLog;
    const view = { appendedIndex: 10, commitIndex: 10, epochs: [{ epoch: EPOCH, startIndex: 1 }] };
    this.mender = new RecordMender({
      groupId: 'g',
      log,
      view: view as unknown as LogView,
      transport: {
        send: (to: string, parts: readonly Uint8Array[]) => this.#asked(to, Buffer.concat(parts)),
      } as never,
      others: () => this.others,
      timers: {
        setTimer: (delayMs, fire) => {
          const timer = setTimeout(fire, this.isSlow ? delayMs / 10 : 1);
          return () => clearTimeout(timer);
        },
      },
      logger: silentLogger,
      counters: this.counters,
      onFailure: (error) => {
        throw error;
      },
    });
  }

  #asked(to: string, message: Uint8Array): boolean {
    const { group, epoch, index } = decodeFrame(message) as RecordRequestFrame;
    const payload = this.theirs;
    const crc = payload === undefined ? 0 : crc32c(payload);
    this.mostAsking = Math.max(this.mostAsking, ++this.asking);
    const answer = (): void => {
      this.asking--;
      this.mender.receive(to, { kind: 'record', group, epoch, index, payload, crc });
    };
    if (this.isSlow) setTimeout(answer, 5);
    else queueMicrotask(answer);
    return true;
  }

  async isRead(): Promise<boolean> {
    const found = await this.mender.soundBlock(BLOCK_AT, CRC);
    if (found !== undefined) expect(Buffer.compare(found, content)).toBe(0);
    return found !== undefined;
  }

  get searches(): number {
    return this.counters.get('replication.block-searches');
  }
}

describe('a damaged block that nobody can give', () => {
  it('is looked for once', async () => {
    const damaged = new Damaged();
    for (let i = 0; i < 10; i++) expect(await damaged.isRead()).toBe(false);
    expect([damaged.searches, damaged.located]).toEqual([1, 1]);
    await damaged.mender.stop();
  });

  it('is had from a member as soon as one is there', async () => {
    const damaged = new Damaged();
    expect(await damaged.isRead()).toBe(false);
    damaged.others = ['b'];
    damaged.theirs = record();
    expect(await damaged.isRead()).toBe(true);
    await damaged.mender.stop();
  });

  it('is looked for again after another member has been there, with nothing to give', async () => {
    const damaged = new Damaged();
    expect(await damaged.isRead()).toBe(false);
    damaged.others = ['b'];
    expect(await damaged.isRead()).toBe(false);
    damaged.others = [];
    expect(await damaged.isRead()).toBe(false);
    expect(await damaged.isRead()).toBe(false);
    expect(damaged.searches).toBe(3);
    await damaged.mender.stop();
  });

  it('is had from its own place where somebody has put it right meanwhile', async () => {
    const damaged = new Damaged();
    damaged.others = ['b'];
    const reading = damaged.isRead();
    damaged.inPlace = content;
    expect(await reading).toBe(true);
    await damaged.mender.stop();
  });

  it('is asked for once at a time, since answers are told apart by its number', async () => {
    const damaged = new Damaged();
    damaged.others = ['b'];
    damaged.isSlow = true;
    // The second search of the first read begins as mending gives up, and more reads come from then on.
    const reads = [damaged.isRead()];
    for (let turn = 0; turn < 40; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      reads.push(damaged.isRead());
    }
    await Promise.all(reads);
    expect(damaged.mostAsking).toBe(1);
    await damaged.mender.stop();
  });

  it('is another one where its place has other content', () => {
    const lost = new LostBlocks();
    lost.add(BLOCK_AT, CRC);
    expect(lost.has(BLOCK_AT, CRC)).toBe(true);
    expect(lost.has(BLOCK_AT, CRC + 1)).toBe(false);
    lost.forget();
    expect(lost.has(BLOCK_AT, CRC)).toBe(false);
  });

  it('is forgotten where there are too many', () => {
    const lost = new LostBlocks();
    for (let i = 0; i <= MAX_LOST_BLOCKS; i++) lost.add(i, CRC);
    expect(lost.has(0, CRC)).toBe(false);
    expect(lost.has(1, CRC)).toBe(true);
    expect(lost.has(MAX_LOST_BLOCKS, CRC)).toBe(true);
  });
});
