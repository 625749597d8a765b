import { describeError, ProtocolError } from '../../base/errors.ts';
import { LogCorruptionError, type RecordLog } from '../../base/record-log.ts';
import { BlockSet } from '../lun/block-set.ts';
import { decodeGroupRecord, type GroupRecord, mismatchedBlocks } from '../lun/log-record.ts';
import type { GroupMeta } from './group-meta.ts';

/** What a copy is known to lack, by its own log alone: what it was never sent nobody can tell from it. */
export interface CopyReport {
  /** The reign of its last record, and the number of the first one that it does not have. */
  readonly epoch: number;
  readonly nextIndex: number;
  /** It lacks records that its list of LUNs knows of: so many at the end. */
  readonly missingRecords: number;
  /** Records that it has as voids, of which it lacks what superseded them. */
  readonly openVoids: number;
  /** By LUN, blocks of 4 KiB in the middle that are not what they were at any one time. */
  readonly missingBlocks: readonly { readonly lunId: number; readonly blockCount: number }[];
  /** By LUN, blocks that are in the log but damaged: what is in them is lost, unless a member that has it joins. */
  readonly damagedBlocks: readonly { readonly lunId: number; readonly blockCount: number }[];
  /** LUNs begun anew by a record that it lacks: all of their content is missing. */
  readonly emptyLuns: readonly number[];
  /** Of openVoids, those that do not say which blocks they stand for; made by an earlier version. */
  readonly unnamedVoids: number;
}

export type CopyReading =
  | { readonly kind: 'reading'; readonly readRecords: number; readonly totalRecords: number }
  | { readonly kind: 'read'; readonly report: CopyReport }
  | { readonly kind: 'failed'; readonly reason: string };

export function hasHoles(report: CopyReport): boolean {
  return report.missingRecords > 0 || report.openVoids > 0 || report.damagedBlocks.length > 0;
}

/** Goes through a log from its base and keeps account of what voids have left open. */
export class CopyReader {
  readonly #generations: Map<number, number>;
  readonly #missing = new Map<number, BlockSet>();
  readonly #damaged = new Map<number, BlockSet>();
  /** Up to where a log must reach for each to be whole. */
  readonly #unnamed: number[] = [];
  readonly #named: number[] = [];
  readonly #meta: GroupMeta;

  constructor(meta: GroupMeta) {
    this.#meta = meta;
    this.#generations = new Map(meta.luns.map(({ lunId, generation }) => [lunId, generation]));
  }

  /** @param isDamaged some of its blocks are not what was written */
  take(index: number, record: GroupRecord, isDamaged = false): void {
    if (record.kind === 'epochStart') return;
    if (record.kind === 'void') this.#takeVoid(index, record);
    else if (index < (this.#generations.get(record.lunId) ?? 0)) return;
    else if (record.kind === 'write' || record.kind === 'discard') {
      for (const blocks of [this.#missing, this.#damaged]) {
        blocks.get(record.lunId)?.remove(record.firstBlock, record.blockCount);
      }
      if (isDamaged && record.kind === 'write') {
        const damaged = blocksOf(this.#damaged, record.lunId);
        for (const i of mismatchedBlocks(record)) damaged.add(record.firstBlock + i, 1);
      }
    } else if (record.kind === 'resetLun' || record.kind === 'dropLun') {
      if (record.kind === 'resetLun') this.#generations.set(record.lunId, record.generation);
      else this.#generations.delete(record.lunId);
      this.#missing.delete(record.lunId);
      this.#damaged.delete(record.lunId);
    }
  }

  #takeVoid(index: number, record: Extract<GroupRecord, { kind: 'void' }>): void {
    const { untilIndex, instead } = record;
    if (instead === undefined) {
      this.#unnamed.push(untilIndex);
      return;
    }
    const generation = this.#generations.get(instead.lunId);
    // Of a disk that is no more, or was begun anew later.
    if (generation === undefined || index < generation) return;
    this.#named.push(untilIndex);
    blocksOf(this.#missing, instead.lunId).add(instead.firstBlock, instead.blockCount);
    this.#damaged.get(instead.lunId)?.remove(instead.firstBlock, instead.blockCount);
  }

  /** @param nextIndex the end of the log */
  report(nextIndex: number): CopyReport {
    const { epochs, luns, lunsIndex } = this.#meta;
    const isOpen = (untilIndex: number): boolean => untilIndex > nextIndex;
    const unnamedVoids = this.#unnamed.filter(isOpen).length;
    const missingBlocks = counted(this.#missing);
    return {
      epoch: epochs.findLast(({ startIndex }) => startIndex < nextIndex)?.epoch ?? 0,
      nextIndex,
      missingRecords: Math.max(0, lunsIndex - nextIndex),
      // All that they stood for may have been written again before the end.
      openVoids: (missingBlocks.length > 0 ? this.#named.filter(isOpen).length : 0) + unnamedVoids,
      missingBlocks,
      damagedBlocks: counted(this.#damaged),
      emptyLuns: luns.filter(({ generation }) => generation >= nextIndex).map(({ lunId }) => lunId),
      unnamedVoids,
    };
  }
}

type BlocksByLun = Map<number, BlockSet>;

function blocksOf(all: BlocksByLun, lunId: number): BlockSet {
  let blocks = all.get(lunId);
  if (blocks === undefined) all.set(lunId, (blocks = new BlockSet()));
  return blocks;
}

function counted(all: BlocksByLun): { lunId: number; blockCount: number }[] {
  const sizes = Array.from(all, ([lunId, blocks]) => ({ lunId, blockCount: blocks.size }));
  return sizes.filter(({ blockCount }) => blockCount > 0);
}

/** Reads a copy through, once for as long as it stays the same, and tells how far it is. */
export class CopyCheck {
  readonly #log: Pick<RecordLog, 'scan' | 'nextIndex'>;
  readonly #meta: () => GroupMeta;
  #isStopped = false;
  #current: { readonly of: string; reading: CopyReading } | undefined;

  constructor(log: Pick<RecordLog, 'scan' | 'nextIndex'>, meta: () => GroupMeta) {
    this.#log = log;
    this.#meta = meta;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Begins where nothing is known of the copy as it is now. */
  ask(): CopyReading {
    const { baseIndex, lunsIndex } = this.#meta();
    const of = `${baseIndex} ${lunsIndex} ${this.#log.nextIndex}`;
    if (this.#current?.of === of) return this.#current.reading;
    const current = { of, reading: this.#progress(baseIndex, baseIndex) };
    this.#current = current;
    void this.#read(current);
    return current.reading;
  }

  #progress(index: number, baseIndex: number): CopyReading {
    return {
      kind: 'reading',
      readRecords: index - baseIndex,
      totalRecords: this.#log.nextIndex - baseIndex,
    };
  }

  async #read(current: { reading: CopyReading }): Promise<void> {
    const meta = this.#meta();
    const endIndex = this.#log.nextIndex;
    const reader = new CopyReader(meta);
    try {
      for await (const { index, payload, isDamaged } of this.#log.scan(meta.baseIndex)) {
        if (this.#isStopped || this.#current !== current || index >= endIndex) break;
        reader.take(index, decodeGroupRecord(payload), isDamaged === true);
        current.reading = this.#progress(index + 1, meta.baseIndex);
      }
      current.reading = { kind: 'read', report: reader.report(endIndex) };
    } catch (error) {
      if (!(error instanceof LogCorruptionError || error instanceof ProtocolError)) {
        current.reading = { kind: 'failed', reason: describeError(error) };
        return;
      }
      current.reading = { kind: 'failed', reason: `it is damaged: ${describeError(error)}` };
    }
  }
}
