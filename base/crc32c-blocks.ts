import { crc32c } from './crc32c.ts';
import {
  i32Add,
  i32And,
  i32Const,
  i32Load,
  i32LtU,
  i32Shl,
  i32ShrU,
  i32Store,
  i32Xor,
  type LoadedWasm,
  loadWasm,
  localGet,
  localSet,
  repeatWhile,
  v128Const,
  v128Load,
  v128Store,
  v128Xor,
  type WasmCode,
} from './wasm-code.ts';

/**
 * CRC32C of blocks of 4 KiB that follow each other, in two thirds of the time that the native library takes for them on
 * an AMD EPYC, by vector instructions that WebAssembly has, which has none for CRC32C and none to multiply without carry.
 *
 * A CRC is the remainder of the message, read as a polynomial over GF(2), by P. Whatever is a multiple of P may be added
 * to the message. FOLD is such a multiple with few terms; so is FOLD^8, which squaring three times makes of it, and in
 * which the same terms lie eight times as far apart: each byte of the message can be taken away if it is added to the
 * bytes that lie further on by the distances below. That is done to all bytes but the last few, 16 at a time, and
 * tables go through the rest. FOLD is the multiple of six terms and of least degree but one: the distances of the very
 * least begin at 65, too near for a processor that has just stored the bytes to read them again.
 */

export const CRC_BLOCK_BYTES = 4096;
/** Exponents of FOLD, which P divides: x^266 + x^143 + x^121 + x^88 + x^71 + 1. */
export const FOLD_EXPONENTS: readonly number[] = [266, 143, 121, 88, 71, 0];

const DEGREE = FOLD_EXPONENTS[0] as number;
/** From its first term to each of the others: in bytes. */
const DISTANCES = FOLD_EXPONENTS.slice(1).map((exponent) => DEGREE - exponent);
const VECTOR_BYTES = 16;
/** What is not taken away: the longest distance, in whole vectors. */
const REST_BYTES = Math.ceil(DEGREE / VECTOR_BYTES) * VECTOR_BYTES;
const FOLDED_BYTES = CRC_BLOCK_BYTES - REST_BYTES;
/** Blocks gone through by one call. */
const MAX_BLOCKS_A_CALL = 16;

/** Of 8 bytes that are taken together, each has a table: what it makes of the CRC once those behind it have gone through. */
const BYTES_A_STEP = 8;
const TABLE_BYTES = 256 * 4;

/** Where things lie in the module's memory. The block being folded has zeros before it, and zeros for its last bytes. */
const TABLES_AT = 0;
const FOLDED_AT = TABLES_AT + BYTES_A_STEP * TABLE_BYTES + REST_BYTES;
const REST_AT = FOLDED_AT + CRC_BLOCK_BYTES;
const RESULTS_AT = REST_AT + REST_BYTES;
const BLOCKS_AT = RESULTS_AT + MAX_BLOCKS_A_CALL * 4;
const MEMORY_BYTES = BLOCKS_AT + MAX_BLOCKS_A_CALL * CRC_BLOCK_BYTES;

/** Locals of the function; the first three are what it is called with. */
const BLOCK = 0;
const BLOCKS_END = 1;
const RESULT = 2;
const AT = 3;
const SOURCE = 4;
const CRC = 5;
const LOW = 6;
const HIGH = 7;
const FUNCTION = { name: 'checksums', parameterCount: 3, localCount: 5 } as const;

const increase = (local: number, by: number): WasmCode => [
  ...localGet(local),
  ...i32Const(by),
  ...i32Add,
  ...localSet(local),
];
const set = (local: number, value: WasmCode): WasmCode => [...value, ...localSet(local)];
const isBelow = (local: number, end: WasmCode): WasmCode => [...localGet(local), ...end, ...i32LtU];

/** The checksum of each block from BLOCK to BLOCKS_END goes to RESULT and where follows. */
function checksumsCode(): WasmCode {
  return repeatWhile(
    set(SOURCE, localGet(BLOCK)),
    set(AT, i32Const(0)),
    // A CRC begins with all bits set, which is the same as the first four bytes turned over.
    foldedVector(FOLDED_AT, [...v128Const(FIRST_FOUR_BYTES), ...v128Xor]),
    repeatWhile(foldedVector(FOLDED_AT), isBelow(AT, i32Const(FOLDED_BYTES))),
    repeatWhile(foldedVector(REST_AT - FOLDED_BYTES), isBelow(AT, i32Const(CRC_BLOCK_BYTES))),
    set(CRC, i32Const(0)),
    set(AT, i32Const(0)),
    repeatWhile(restStep(), isBelow(AT, i32Const(REST_BYTES))),
    [...localGet(RESULT), ...localGet(CRC), ...i32Const(-1), ...i32Xor, ...i32Store(0)],
    increase(RESULT, 4),
    increase(BLOCK, CRC_BLOCK_BYTES),
    isBelow(BLOCK, localGet(BLOCKS_END)),
  );
}

const FIRST_FOUR_BYTES = Array.from({ length: VECTOR_BYTES }, (_, i) => (i < 4 ? 0xff : 0));

/** Adds to the next 16 bytes all that is taken away before them, and stores them. */
function foldedVector(storeAt: number, more: WasmCode = []): WasmCode {
  const takenAway = DISTANCES.flatMap((distance) => [
    ...localGet(AT),
    ...v128Load(FOLDED_AT - distance),
    ...v128Xor,
  ]);
  return [
    ...localGet(AT),
    ...[...localGet(SOURCE), ...v128Load(0), ...takenAway, ...more],
    ...v128Store(storeAt),
    ...increase(AT, VECTOR_BYTES),
    ...increase(SOURCE, VECTOR_BYTES),
  ];
}

/** Takes the next 8 of the bytes that are left into the CRC. */
function restStep(): WasmCode {
  const looked = Array.from({ length: BYTES_A_STEP }, (_, byte) => [
    ...[...localGet(byte < 4 ? LOW : HIGH), ...i32Const((byte % 4) * 8), ...i32ShrU],
    ...[...i32Const(0xff), ...i32And, ...i32Const(2), ...i32Shl],
    ...i32Load(TABLES_AT + (BYTES_A_STEP - 1 - byte) * TABLE_BYTES),
  ]);
  return [
    ...set(LOW, [...localGet(AT), ...i32Load(REST_AT), ...localGet(CRC), ...i32Xor]),
    ...set(HIGH, [...localGet(AT), ...i32Load(REST_AT + 4)]),
    ...set(
      CRC,
      looked.flatMap((part, i) => (i === 0 ? part : [...part, ...i32Xor])),
    ),
    ...increase(AT, BYTES_A_STEP),
  ];
}

function fillTables(memory: ArrayBuffer): void {
  const tables = new Uint32Array(memory, TABLES_AT, BYTES_A_STEP * 256);
  for (let i = 0; i < tables.length; i++) {
    const table = i >>> 8;
    // Of one byte, then of one byte and so many zeros behind it. crc32c turns over the CRC before and after.
    const bytes = Uint8Array.from({ length: table + 1 }, (_, at) => (at === 0 ? i & 0xff : 0));
    tables[i] = ~crc32c(bytes, 0xffff_ffff) >>> 0;
  }
}

interface Checksums {
  /** Where blocks are put. */
  readonly blocks: Uint8Array;
  readonly results: Uint32Array;
  readonly run: LoadedWasm['run'];
}

function makeChecksums(): Checksums | undefined {
  // The others that we know of have an instruction for CRC32C that leaves nothing to gain.
  if (process.arch !== 'x64') return undefined;
  const loaded = loadWasm({ ...FUNCTION, code: checksumsCode() }, MEMORY_BYTES);
  if (loaded === undefined) return undefined;
  const { memory, run } = loaded;
  fillTables(memory);
  return {
    blocks: new Uint8Array(memory, BLOCKS_AT, MAX_BLOCKS_A_CALL * CRC_BLOCK_BYTES),
    results: new Uint32Array(memory, RESULTS_AT, MAX_BLOCKS_A_CALL),
    run,
  };
}

let made: { readonly checksums: Checksums | undefined } | undefined;

/** Made when it is first asked for: most programs that this is a part of have no blocks. */
function vectorChecksums(): Checksums | undefined {
  made ??= { checksums: makeChecksums() };
  return made.checksums;
}

/** Whether vector instructions are used here; where they are not, each block goes to the native library. */
export function hasVectorChecksums(): boolean {
  return vectorChecksums() !== undefined;
}

/**
 * CRC32C of each of `count` blocks of 4 KiB, of which the first begins at `from`.
 * @param into their checksums, in order
 */
export function crc32cOfBlocks(input: Uint8Array, from: number, count: number, into: Uint32Array): void {
  const checksums = vectorChecksums();
  if (checksums === undefined) return crc32cOfEach(input, from, count, into);
  for (let done = 0; done < count; done += MAX_BLOCKS_A_CALL) {
    const blocks = Math.min(MAX_BLOCKS_A_CALL, count - done);
    const lengthBytes = blocks * CRC_BLOCK_BYTES;
    const at = from + done * CRC_BLOCK_BYTES;
    checksums.blocks.set(input.subarray(at, at + lengthBytes));
    checksums.run(BLOCKS_AT, BLOCKS_AT + lengthBytes, RESULTS_AT);
    for (let i = 0; i < blocks; i++) into[done + i] = checksums.results[i] as number;
  }
}

/** The same by the native library. */
export function crc32cOfEach(input: Uint8Array, from: number, count: number, into: Uint32Array): void {
  for (let i = 0; i < count; i++) {
    const at = from + i * CRC_BLOCK_BYTES;
    into[i] = crc32c(input.subarray(at, at + CRC_BLOCK_BYTES));
  }
}
