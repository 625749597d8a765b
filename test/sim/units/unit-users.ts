import type { SeededRandom } from '../../../base/random.ts';
import { SECTOR_BYTES, sectorOf } from '../replication/sectors.ts';
import { compareAndWrite, type Ending, read, type UnitCommand, writeAtomic } from './unit-commands.ts';
import type { CellInput, CellOutput } from './unit-models.ts';

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

/** The value that all blocks have; NaN where they have several. */
export function valueOf(blocks: Buffer): number {
  const value = blocks.readUInt32BE(0);
  const count = blocks.length / SECTOR_BYTES;
  const expected = Buffer.concat(Array.from({ length: count }, () => sectorOf(value)));
  return blocks.equals(expected) ? value : Number.NaN;
}

const CELL_LBA = 1;
/** In parts of blocks of 4 KiB, the first of which has the cell as well. */
const RANGE_LBA = 4;
const RANGE_BLOCKS = 15;

/** Changes one block by COMPARE AND WRITE, from what it has read or thinks that there is, and a range as a whole. */
export class CellUser implements UnitUser {
  readonly #random: SeededRandom;
  readonly #name: string;
  #thought: number;
  #count = 0;

  constructor(random: SeededRandom, name: string, first: number) {
    this.#random = random;
    this.#name = name;
    this.#thought = first;
  }

  next(): Step<CellInput, CellOutput> {
    const kind = this.#random.below(100);
    if (kind < 50) return this.#swap();
    if (kind < 70) return this.#read('cell', CELL_LBA, 1);
    if (kind < 85) return this.#read('range', RANGE_LBA, RANGE_BLOCKS);
    return this.#writeRange();
  }

  #newValue(): number {
    return this.#name.charCodeAt(0) * 1_000_000 + ++this.#count;
  }

  #swap(): Step<CellInput, CellOutput> {
    const from = this.#thought;
    const to = this.#newValue();
    return {
      input: { kind: 'swap', at: 'cell', from, to },
      command: compareAndWrite(CELL_LBA, sectorOf(from), sectorOf(to)),
      understand: (ending) => {
        if (ending.kind === 'good') this.#thought = to;
        return ending.kind === 'differs' ? 'differs' : 'good';
      },
    };
  }

  #read(at: 'cell' | 'range', lba: number, blocks: number): Step<CellInput, CellOutput> {
    return {
      input: { kind: 'read', at },
      command: read(lba, blocks),
      understand: (ending) => {
        const value = ending.kind === 'good' ? valueOf(ending.data) : Number.NaN;
        if (at === 'cell' && !Number.isNaN(value)) this.#thought = value;
        return value;
      },
    };
  }

  #writeRange(): Step<CellInput, CellOutput> {
    const value = this.#newValue();
    const data = Buffer.concat(Array.from({ length: RANGE_BLOCKS }, () => sectorOf(value)));
    return {
      input: { kind: 'write', at: 'range', value },
      command: writeAtomic(RANGE_LBA, RANGE_BLOCKS, data),
      understand: () => 'good',
    };
  }
}
