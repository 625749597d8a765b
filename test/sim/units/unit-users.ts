import type { SeededRandom } from '../../../base/random.ts';
import { SECTOR_BYTES, sectorOf } from '../replication/sectors.ts';
import { compareAndWrite, type Ending, read, type UnitCommand, write, writeAtomic } from './unit-commands.ts';
import type { CellInput, CellOutput, CellPlace } from './unit-models.ts';

/** What an initiator does next. */
export interface Step<Input, Output> {
  readonly input: Input;
  /** What comes of it later, where it ends well. */
  readonly effect?: Input;
  readonly command: UnitCommand;
  /** Of an ending that says something. */
  readonly understand: (ending: Ending) => Output;
}

export interface UnitUser {
  next(): Step<unknown, unknown>;
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
const RANGE_BLOCKS = 15;

/**
 * Changes two blocks by COMPARE AND WRITE, from what it has read or thinks that there is, one of them by plain writes as well,
 * and a range as a whole.
 */
export class CellUser implements UnitUser {
  readonly #random: SeededRandom;
  readonly #name: string;
  readonly #thought = new Map<CellPlace, number>();
  readonly #first: number;
  #count = 0;

  constructor(random: SeededRandom, name: string, first: number) {
    this.#random = random;
    this.#name = name;
    this.#first = first;
  }

  next(): Step<CellInput, CellOutput> {
    const kind = this.#random.below(100);
    if (kind < 25) return this.#swap('cell');
    if (kind < 45) return this.#swap('written');
    if (kind < 60) return this.#write();
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

  /** Of a whole block as data is kept, so that it can be begun at once. */
  #write(): Step<CellInput, CellOutput> {
    const value = this.#newValue();
    return {
      input: { kind: 'write', at: 'written', value },
      command: write(LBA.written, WHOLE_BLOCKS, blocksOf(value, WHOLE_BLOCKS)),
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
      command: writeAtomic(LBA.range, RANGE_BLOCKS, blocksOf(value, RANGE_BLOCKS)),
      understand: () => 'good',
    };
  }
}
