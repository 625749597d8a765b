import type { CancelTimer, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { crc32c } from '../../base/crc32c.ts';
import { describeError, ProtocolError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { PeerTransport } from '../../base/peer-transport.ts';
import { type DamagedRecords, LogFullError, type MendableLog } from '../../base/record-log.ts';
import { STORED_BLOCK_BYTES } from '../lun/limits.ts';
import { checksumOfIntact, decodeGroupRecord } from '../lun/log-record.ts';
import type { LogView } from './core.ts';
import { epochAt } from './epoch-table.ts';
import { encodeFrame, type RecordFrame, type RecordRequestFrame } from './frame.ts';
import {
  MAX_DAMAGED_SPANS,
  MAX_MENDED_RECORDS,
  MEND_RETRY_MS,
  RECORD_ANSWER_MS,
  RECORD_ROUND_MS,
  RECORD_ROUNDS,
} from './limits.ts';
import { LostBlocks } from './lost-blocks.ts';

export interface RecordMenderPorts {
  readonly groupId: string;
  readonly log: MendableLog;
  readonly view: LogView;
  readonly transport: PeerTransport;
  /** Other members that can be asked, the likeliest to have everything first. */
  readonly others: () => readonly string[];
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
  /** The device failed. Final. */
  readonly onFailure: (error: unknown) => void;
}

/** Damage found in this copy of the group's log since the start. */
export interface DamageStatus {
  readonly found: number;
  readonly mended: number;
  /** Not mended so far: no other member could give what was there. */
  readonly left: readonly DamagedRecords[];
}

/**
 * A record as another member has it. A void stands there for one that is in use nowhere any more: it is of use here
 * only where it fits, as in place of another void.
 */
type Fetched = { readonly payload: Uint8Array; readonly isVoid: boolean } | undefined;

interface Damage {
  readonly records: DamagedRecords;
  isReported: boolean;
}

/**
 * Puts damaged records of this member's log right with what another member has. The epoch and number of a record
 * name its content for ever, on whatever member it is (but for voids), so that any may be asked. What comes is compared with
 * checksums before it is used, and it is used before it is written back: a client need not wait for the disk.
 */
export class RecordMender {
  readonly #ports: RecordMenderPorts;
  readonly #damaged = new Map<number, Damage>();
  /** Asked for, or held until they are written back. */
  readonly #fetched = new Map<number, Promise<Fetched>>();
  /** Those of them that have come. One that is still asked for must not be asked for twice: answers go by its number. */
  readonly #held = new Set<number>();
  /** Damaged, and in use nowhere, so that nobody has them any more: nothing is to be done about them. */
  readonly #dead = new Set<number>();
  readonly #lost = new LostBlocks();
  readonly #answers = new Map<string, (frame: RecordFrame) => void>();
  readonly #pauses = new Set<() => void>();
  #found = 0;
  #mended = 0;
  #working: Promise<void> | undefined;
  #cancelRetry: CancelTimer | undefined;
  #isStopped = false;

  constructor(ports: RecordMenderPorts) {
    this.#ports = ports;
  }

  status(): DamageStatus {
    const left = Array.from(this.#damaged.values(), ({ records }) => records);
    return { found: this.#found, mended: this.#mended, left };
  }

  /** Has these mended, in the background. */
  note(found: readonly DamagedRecords[]): void {
    const { groupId, logger, counters } = this.#ports;
    for (const records of found) {
      if (records.count === 1 && this.#dead.has(records.firstIndex)) continue;
      const known = this.#damaged.get(records.firstIndex);
      if (known !== undefined && known.records.count >= records.count) continue;
      if (known === undefined) {
        if (this.#damaged.size >= MAX_DAMAGED_SPANS) continue;
        this.#found++;
        counters.add('replication.damage-found');
        logger.error('replication.damage-found', { group: groupId, ...records });
      }
      this.#damaged.set(records.firstIndex, { records, isReported: false });
    }
    if (this.#damaged.size > 0) this.#work();
  }

  /** Looks for damage where something could not be read. */
  look(index: number): void {
    const { log, view, onFailure } = this.#ports;
    if (this.#isStopped || index < log.firstIndex || index >= view.appendedIndex) return;
    log.verify(index, index + 1, 1).then(
      ({ damaged }) => this.note(damaged),
      (error: unknown) => {
        if (!this.#isStopped) onFailure(error);
      },
    );
  }

  /**
   * A block that is damaged here, as another member has it.
   * @param position of its first byte in the log
   * @param crc what it must have
   * @returns undefined when nobody could give it in time
   */
  async soundBlock(position: number, crc: number): Promise<Uint8Array | undefined> {
    const { others, counters } = this.#ports;
    const isAlone = others().length === 0;
    if (!isAlone) this.#lost.forget();
    else if (this.#lost.has(position, crc)) return undefined;
    counters.add('replication.block-searches');
    const found = await this.#findBlock(position, crc);
    const wasAlone = isAlone && others().length === 0 && !this.#isStopped;
    if (found === undefined && wasAlone) this.#lost.add(position, crc);
    return found;
  }

  async #findBlock(position: number, crc: number): Promise<Uint8Array | undefined> {
    const { log } = this.#ports;
    const located = await log.locate(position);
    if (located === undefined || this.#isStopped) return undefined;
    const { firstIndex, count } = located;
    this.note([{ firstIndex, count, reason: 'a client read it' }]);
    if (count > 1) {
      // Where in them it is shows only when they are back in their places.
      await this.#working;
      const bytes = await log.readAt(position, STORED_BLOCK_BYTES).catch(() => undefined);
      return bytes !== undefined && crc32c(bytes) === crc ? bytes : undefined;
    }
    const isUnderWay = this.#fetched.has(firstIndex);
    let fetched = await this.#fetch(firstIndex);
    // Who was asked before this read came may have been out of reach then.
    if (fetched === undefined && isUnderWay) fetched = await this.#fetch(firstIndex);
    const payload = fetched?.payload;
    if (!this.#damaged.has(firstIndex)) this.#release(firstIndex);
    const start = position - located.position;
    const block = payload?.subarray(start, start + STORED_BLOCK_BYTES);
    if (block !== undefined && isBlock(block, crc)) return block;
    // Who was in reach for a moment may have had it mended for somebody else.
    const bytes = await log.readAt(position, STORED_BLOCK_BYTES).catch(() => undefined);
    return bytes !== undefined && isBlock(bytes, crc) ? bytes : undefined;
  }

  /** Another member asks, or answers. */
  receive(from: string, frame: RecordRequestFrame | RecordFrame): void {
    if (frame.kind === 'recordRequest') {
      this.#answer(from, frame).catch((error: unknown) => {
        // It may have been cut off or emptied meanwhile, or is damaged here as well.
        this.#ports.logger.warn('replication.record-not-given', { to: from, reason: describeError(error) });
        this.#send(from, frame, undefined);
        this.look(frame.index);
      });
      return;
    }
    this.#answers.get(answerKey(from, frame.index))?.(frame);
  }

  async #answer(from: string, request: RecordRequestFrame): Promise<void> {
    const { log, view } = this.#ports;
    const { epoch, index } = request;
    const isHere = index >= log.firstIndex && index < view.appendedIndex;
    const isSame = isHere && epochAt(view.epochs, index) === epoch;
    this.#send(from, request, isSame ? await log.read(index) : undefined);
  }

  #send(to: string, { group, epoch, index }: RecordRequestFrame, payload: Uint8Array | undefined): void {
    if (this.#isStopped) return;
    const crc = payload === undefined ? 0 : crc32c(payload);
    this.#ports.transport.send(to, encodeFrame({ kind: 'record', group, epoch, index, payload, crc }));
  }

  /** The record as another member has it, compared with its checksums; undefined when nobody gives it. */
  #fetch(index: number): Promise<Fetched> {
    const known = this.#fetched.get(index);
    if (known !== undefined) return known;
    const fetching = this.#ask(index).then((fetched) => {
      if (fetched === undefined) this.#fetched.delete(index);
      else this.#held.add(index);
      return fetched;
    });
    this.#fetched.set(index, fetching);
    return fetching;
  }

  async #ask(index: number): Promise<Fetched> {
    const { groupId: group, view, transport, counters, others } = this.#ports;
    const epoch = epochAt(view.epochs, index);
    // Only what is committed is for certain the same everywhere.
    if (epoch === 0 || index >= view.commitIndex) return undefined;
    let substitute: Fetched;
    for (let round = 0; round < RECORD_ROUNDS && substitute === undefined; round++) {
      // Links come and go, and what was spoilt on its way may arrive well the next time.
      if (round > 0) await this.#pause();
      for (const member of others()) {
        if (this.#isStopped) return undefined;
        if (!transport.send(member, encodeFrame({ kind: 'recordRequest', group, epoch, index }))) continue;
        const frame = await this.#awaitAnswer(member, index);
        if (frame?.payload === undefined) continue;
        if (!isSound(frame, epoch)) {
          counters.add('replication.record-refused');
          continue;
        }
        const fetched = { payload: frame.payload, isVoid: isVoid(frame.payload) };
        if (!fetched.isVoid) return fetched;
        substitute = fetched;
      }
    }
    return substitute;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#pauses.delete(done);
        resolve();
      };
      const cancel = this.#ports.timers.setTimer(RECORD_ROUND_MS, done);
      this.#pauses.add(done);
    });
  }

  #awaitAnswer(member: string, index: number): Promise<RecordFrame | undefined> {
    const key = answerKey(member, index);
    return new Promise((resolve) => {
      const done = (frame: RecordFrame | undefined): void => {
        cancel();
        this.#answers.delete(key);
        resolve(frame);
      };
      const cancel = this.#ports.timers.setTimer(RECORD_ANSWER_MS, () => done(undefined));
      this.#answers.set(key, done);
    });
  }

  #work(): void {
    if (this.#working !== undefined || this.#isStopped) return;
    this.#cancelRetry?.();
    this.#working = this.#mendAll()
      .catch((error: unknown) => {
        if (!this.#isStopped) this.#ports.onFailure(error);
      })
      .finally(() => {
        this.#working = undefined;
        if (this.#damaged.size === 0 || this.#isStopped) return;
        this.#cancelRetry = this.#ports.timers.setTimer(MEND_RETRY_MS, () => this.#work());
      });
  }

  async #mendAll(): Promise<void> {
    const done = new Set<Damage>();
    for (;;) {
      const next = Array.from(this.#damaged.values()).find((damage) => !done.has(damage));
      if (next === undefined || this.#isStopped) return;
      done.add(next);
      await this.#mend(next);
    }
  }

  async #mend(damage: Damage): Promise<void> {
    const { log, logger, counters, groupId } = this.#ports;
    const { firstIndex, count } = damage.records;
    if (firstIndex + count <= log.firstIndex) {
      // Let go of meanwhile.
      this.#forget(damage);
      return;
    }
    const fetched = await this.#fetchAll(firstIndex, count);
    const payloads = fetched?.map(({ payload }) => payload);
    let reason = 'no other member gave what was there';
    try {
      if (payloads !== undefined && !this.#isStopped) {
        if (await log.mend(firstIndex, payloads)) {
          this.#mended++;
          counters.add('replication.damage-mended');
          logger.info('replication.damage-mended', { group: groupId, firstIndex, count });
          this.#forget(damage);
          return;
        }
        if (await this.#isNoMore(damage)) return;
        if (count === 1 && fetched?.[0]?.isVoid === true && this.#dead.size < MAX_DAMAGED_SPANS) {
          logger.info('replication.damage-unused', { group: groupId, firstIndex });
          this.#dead.add(firstIndex);
          this.#forget(damage);
          return;
        }
        reason = 'what others have does not fit in its place';
      }
    } catch (error) {
      if (!(error instanceof LogFullError)) throw error;
      reason = error.message;
    }
    this.#drop(damage);
    if (!damage.isReported) {
      damage.isReported = true;
      counters.add('replication.damage-left');
      logger.error('replication.damage-left', { group: groupId, firstIndex, count, reason });
    }
  }

  /** It may have been let go of, or be larger than what was known of it. */
  async #isNoMore(damage: Damage): Promise<boolean> {
    const { log, view } = this.#ports;
    const { firstIndex, count } = damage.records;
    if (this.#isStopped) return true;
    if (firstIndex < log.firstIndex || firstIndex >= view.appendedIndex) {
      this.#forget(damage);
      return true;
    }
    const { damaged } = await log.verify(firstIndex, firstIndex + 1, 1);
    const again = damaged.find((found) => found.firstIndex === firstIndex);
    if (again === undefined) this.#forget(damage);
    else if (again.count > count) this.note([again]);
    return again === undefined || again.count > count;
  }

  async #fetchAll(firstIndex: number, count: number): Promise<NonNullable<Fetched>[] | undefined> {
    if (count > MAX_MENDED_RECORDS) return undefined;
    const all: NonNullable<Fetched>[] = [];
    for (let index = firstIndex; index < firstIndex + count; index++) {
      const fetched = await this.#fetch(index);
      if (fetched === undefined) return undefined;
      all.push(fetched);
    }
    return all;
  }

  #forget(damage: Damage): void {
    const { firstIndex } = damage.records;
    if (this.#damaged.get(firstIndex) === damage) this.#damaged.delete(firstIndex);
    this.#drop(damage);
  }

  /** Nothing is held while it waits to be tried again. */
  #drop({ records: { firstIndex, count } }: Damage): void {
    for (let index = firstIndex; index < firstIndex + Math.max(1, count); index++) this.#release(index);
  }

  #release(index: number): void {
    if (this.#held.delete(index)) this.#fetched.delete(index);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRetry?.();
    for (const answer of this.#answers.values()) answer({ kind: 'record', ...NOTHING });
    for (const end of this.#pauses) end();
    await this.#working;
  }
}

const NOTHING = { group: '', epoch: 0, index: 0, payload: undefined, crc: 0 };

function answerKey(from: string, index: number): string {
  return `${index} ${from}`;
}

function isBlock(block: Uint8Array, crc: number): boolean {
  return block.length === STORED_BLOCK_BYTES && crc32c(block) === crc;
}

function isVoid(payload: Uint8Array): boolean {
  return decodeGroupRecord(payload).kind === 'void';
}

/** Whether it came as the other member read it, and is what it is asked for as. */
function isSound({ payload, crc }: RecordFrame, epoch: number): boolean {
  if (payload === undefined || crc32c(payload) !== crc) return false;
  try {
    const record = decodeGroupRecord(payload);
    return record.epoch === epoch && (record.kind !== 'write' || checksumOfIntact(record) !== undefined);
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}
