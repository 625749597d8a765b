import type { SeededRandom } from '../../../base/random.ts';
import { SECTOR_BYTES, sectorOf } from '../replication/sectors.ts';
import { compareAndWrite, type Ending, read, type UnitCommand, write, writeAtomic } from './unit-commands.ts';
import type { CellInput, CellOutput, CellPlace } from './unit-models.ts';

/** What an initiator does next. */
export interface Step<Input, Output> {
  readonly input: Input;
  /** What comes of it later, where it ends well. */
  readonly effect?: Input;
  /** What it means that it has been aborted; absent: it is not to be. */
  readonly ended?: Input;
  readonly command: UnitCommand;
  /** Of an ending that says something. */
  readonly understand: (ending: Ending) => Output;
}

export interface UnitUser {
  next(): Step<unknown, unknown>;
  /** ABORT TASK has been answered. */
  aborted(step: Step<unknown, unknown>): void;
  /** It has had nothing to do for a while: it looks first how things stand. */
  rested(): void;
  /** It has something to do at once. */
  readonly isInHurry: boolean;
}

export function blocksOf(value: number, count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => sectorOf(value)));
}

/** The value that all blocks have; NaN where they have several. */
export function valueOf(blocks: Buffer): number {
  const value = blocks.readUInt32BE(0);
  return blocks.equals(blocksOf(value, blocks.length / SECTOR_BYTES)) ? value : Number.NaN;
}

/** As data is kept: 4 KiB. */
export const WHOLE_BLOCKS = 4096 / SECTOR_BYTES;

const LBA: Readonly<Record<CellPlace, number>> = { cell: 1, range: 4, written: 4 * WHOLE_BLOCKS };
/** In parts of blocks of 4 KiB, the first of which has the cell as well. */
const RANGE_BLOCKS = 28;

/**
 * Changes two blocks by COMPARE AND WRITE, from what it has read or thinks that there is, one of them by plain writes as well,
 * and a range as a whole.
 */
export class CellUser implements UnitUser {
  readonly #random: SeededRandom;
  readonly #name: string;
  readonly #thought = new Map<CellPlace, number>();
  readonly #first: number;
  /** What it does next whatever else it might. */
  #isNext: (() => Step<CellInput, CellOutput>)[] = [];
  #count = 0;

  constructor(random: SeededRandom, name: string, first: number) {
    this.#random = random;
    this.#name = name;
    this.#first = first;
  }

  get isInHurry(): boolean {
    return this.#isNext.length > 0;
  }

  rested(): void {
    const [at, blocks] =
      this.#random.below(2) === 0 ? (['written', 1] as const) : (['range', RANGE_BLOCKS] as const);
    this.#isNext = [() => this.#read(at, blocks)];
  }

  /** It writes the same blocks at once, and looks what has become of them. */
  aborted({ input }: Step<CellInput, CellOutput>): void {
    const { at } = input;
    if (at === 'cell') return;
    this.#isNext =
      at === 'range'
        ? [() => this.#writeRange(), () => this.#read('range', RANGE_BLOCKS)]
        : [() => this.#write(WHOLE_BLOCKS), () => this.#read('written', 1)];
  }

  next(): Step<CellInput, CellOutput> {
    const isNext = this.#isNext.shift();
    if (isNext !== undefined) return isNext();
    const kind = this.#random.below(100);
    if (kind < 25) return this.#swap('cell');
    if (kind < 45) return this.#swap('written');
    if (kind < 60) return this.#write(kind < 54 ? WHOLE_BLOCKS : 1);
    if (kind < 68) return this.#read('cell', 1);
    if (kind < 76) return this.#read('written', 1);
    if (kind < 88) return this.#read('range', RANGE_BLOCKS);
    return this.#writeRange();
  }

  #newValue(): number {
    return this.#name.charCodeAt(0) * 1_000_000 + ++this.#count;
  }

  #swap(at: CellPlace): Step<CellInput, CellOutput> {
    const from = this.#thought.get(at) ?? this.#first;
    const to = this.#newValue();
    return {
      input: { kind: 'swap', at, from, to },
      ended: { kind: 'ended', at, value: to },
      command: compareAndWrite(LBA[at], sectorOf(from), sectorOf(to)),
      understand: (ending) => {
        if (ending.kind === 'good') this.#thought.set(at, to);
        return ending.kind === 'differs' ? 'differs' : 'good';
      },
    };
  }

  #read(at: CellPlace, blocks: number): Step<CellInput, CellOutput> {
    return {
      input: { kind: 'read', at },
      command: read(LBA[at], blocks),
      understand: (ending) => {
        const value = ending.kind === 'good' ? valueOf(ending.data) : Number.NaN;
        if (!Number.isNaN(value)) this.#thought.set(at, value);
        return value;
      },
    };
  }

  /** @param count a whole block as data is kept can be begun at once, for a part of one the rest has to be read */
  #write(count: number): Step<CellInput, CellOutput> {
    const value = this.#newValue();
    return {
      input: { kind: 'write', at: 'written', value },
      ended: { kind: 'ended', at: 'written', value },
      command: write(LBA.written, count, blocksOf(value, count)),
      understand: (ending) => {
        if (ending.kind === 'good') this.#thought.set('written', value);
        return 'good';
      },
    };
  }

  #writeRange(): Step<CellInput, CellOutput> {
    const value = this.#newValue();
    return {
      input: { kind: 'write', at: 'range', value },
      ended: { kind: 'ended', at: 'range', value },
      command: writeAtomic(LBA.range, RANGE_BLOCKS, blocksOf(value, RANGE_BLOCKS)),
      understand: () => 'good',
    };
  }
}
