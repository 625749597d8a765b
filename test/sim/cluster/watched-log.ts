import { crc32c } from '../../../base/crc32c.ts';
import type { RecordLog } from '../../../base/record-log.ts';
import { decodeRecord, type RaftRecord } from '../../../cluster/raft-records.ts';
import { RaftView } from './raft-view.ts';

interface WrittenRecord {
  readonly checksum: number;
  readonly content: RaftRecord;
}

/**
 * What a node's log on disk must hold: every record it was given and said to be durable, none it was not given.
 * It outlives the node's processes and is held against the log each time that is opened.
 */
export class WatchedLog {
  readonly #fail: (what: string) => void;
  readonly #onWritten: (record: RaftRecord, before: RaftView) => void;
  /** By record number. Those from #durableNext on may be lost. */
  #records = new Map<number, WrittenRecord>();
  #durableNext = 0;
  /** Records before this may be gone. */
  #trimmedBefore = 0;
  /** What the last process wrote, and of that what is durable. */
  written = new RaftView();
  durable = new RaftView();
  #notDurable: { readonly number: number; readonly content: RaftRecord }[] = [];

  constructor(on: {
    readonly failed: (what: string) => void;
    /** Called before the record is counted in `written`. */
    readonly written: (record: RaftRecord, before: RaftView) => void;
  }) {
    this.#fail = on.failed;
    this.#onWritten = on.written;
  }

  /** The log has been opened again: what it holds is compared with what it must hold. */
  async reopened(log: RecordLog): Promise<void> {
    const { firstIndex, nextIndex } = log;
    if (nextIndex < this.#durableNext) {
      this.#fail(`durable records are gone: the log ends at ${nextIndex}, not at ${this.#durableNext}`);
    }
    if (this.#durableNext > 0 && firstIndex > this.#trimmedBefore && firstIndex > 1) {
      this.#fail(`the log begins at ${firstIndex}, but only records before ${this.#trimmedBefore} may go`);
    }
    const found = new Map<number, WrittenRecord>();
    for await (const { index, payload } of log.scan(firstIndex)) {
      const known = this.#records.get(index);
      if (known?.checksum !== crc32c(payload)) {
        this.#fail(`record ${index} is not what was written there`);
        return;
      }
      found.set(index, known);
    }
    this.#records = found;
    this.#durableNext = nextIndex;
    this.#notDurable = [];
    this.written = new RaftView();
    this.durable = new RaftView();
    for (const { content } of found.values()) {
      this.written.add(content);
      this.durable.add(content);
    }
  }

  /** The log is gone, with all that was durable in it; what comes is another one. */
  forget(): void {
    this.#records = new Map();
    this.#durableNext = 0;
    this.#trimmedBefore = 0;
    this.#notDurable = [];
    this.written = new RaftView();
    this.durable = new RaftView();
  }

  /** The log as the code under test is to see it. */
  watch(log: RecordLog): RecordLog {
    return {
      get firstIndex() {
        return log.firstIndex;
      },
      get nextIndex() {
        return log.nextIndex;
      },
      get durableNextIndex() {
        return log.durableNextIndex;
      },
      append: async (records) => {
        const first = log.nextIndex;
        const appended = log.append(records);
        // Counted at once: a process may die before it is told of what it wrote.
        for (const [i, bytes] of records.entries()) this.#noteWritten(first + i, bytes);
        try {
          return await appended;
        } catch (error) {
          this.#takeBack(first);
          throw error;
        }
      },
      sync: async () => {
        const upTo = log.nextIndex;
        await log.sync();
        this.#noteDurable(upTo);
      },
      trimBefore: async (index) => {
        this.#trimmedBefore = Math.max(this.#trimmedBefore, index);
        await log.trimBefore(index);
      },
      read: (index) => log.read(index),
      scan: (fromIndex) => log.scan(fromIndex),
      readAt: (position, lengthBytes) => log.readAt(position, lengthBytes),
      truncateFrom: (index) => log.truncateFrom(index),
      resetTo: (index) => log.resetTo(index),
      close: () => log.close(),
    };
  }

  #noteWritten(number: number, bytes: Uint8Array): void {
    const content = decodeRecord(bytes);
    this.#records.set(number, { checksum: crc32c(bytes), content });
    this.#notDurable.push({ number, content });
    this.#onWritten(content, this.written);
    this.written.add(content);
  }

  #noteDurable(nextIndex: number): void {
    let count = 0;
    for (const { number, content } of this.#notDurable) {
      if (number >= nextIndex) break;
      this.durable.add(content);
      // Not nextIndex: it counts records that there was no room for.
      this.#durableNext = number + 1;
      count++;
    }
    this.#notDurable = this.#notDurable.slice(count);
  }

  /** A write has failed: what was counted as written from there on is not there. */
  #takeBack(fromNumber: number): void {
    this.#notDurable = this.#notDurable.filter((r) => r.number < fromNumber);
    this.written = new RaftView();
    for (const [number, { content }] of this.#records) {
      if (number < fromNumber) this.written.add(content);
      else this.#records.delete(number);
    }
  }
}
