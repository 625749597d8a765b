import { crc32c } from '../../base/crc32c.ts';
import { crc32cOfBlocks } from '../../base/crc32c-blocks.ts';
import { describeError, InvariantError } from '../../base/errors.ts';
import { LogCorruptionError } from '../../base/record-log.ts';
import { DeviceError, LOGICAL_BLOCK_BYTES, type ReadMemory } from '../block-device.ts';
import { MAX_BLOCKS_READ_NOW, MAX_READ_RUN_BLOCKS, STORED_BLOCK_BYTES } from './limits.ts';
import type { Lun } from './lun-table.ts';

/** Reads bytes of the log at positions taken from an index. */
export type ReadAt = (position: number, lengthBytes: number) => Promise<Uint8Array>;

/** Fills `into` with the same before it returns; false where it would wait for a disk. */
export type ReadAtNow = (position: number, into: Uint8Array) => boolean;

/** What a reader needs of the log. */
export interface LogBlocks {
  readonly readAt: ReadAt;
  readonly readAtNow?: ReadAtNow | undefined;
  /**
   * A block that is damaged at its place in the log, from another copy of it.
   * @returns undefined when there is none to be had
   */
  soundBlock(position: number, crc: number): Promise<Uint8Array | undefined>;
}

/** Neighbouring blocks that one read can fetch. */
interface Run {
  firstBlock: number;
  blockCount: number;
  /** In the log; 0 when the base image has them, and less when they were given up and are zeros. */
  position: number;
}

/** What blocks given up read as; nobody writes into what a device hands out. */
const ZEROS = new Uint8Array(MAX_READ_RUN_BLOCKS * STORED_BLOCK_BYTES);

/** Divides a range into runs, each from one place, as the index stands now. */
function planRuns(lun: Lun, firstBlock: number, blockCount: number): readonly Run[] {
  const runs: Run[] = [];
  let run: Run | undefined;
  for (let block = firstBlock; block < firstBlock + blockCount; block++) {
    const position = lun.blocks.position(block);
    const follows =
      run !== undefined &&
      run.blockCount < MAX_READ_RUN_BLOCKS &&
      (run.position > 0
        ? position === run.position + run.blockCount * STORED_BLOCK_BYTES
        : Math.sign(position) === Math.sign(run.position));
    if (run !== undefined && follows) {
      run.blockCount++;
    } else {
      run = { firstBlock: block, blockCount: 1, position };
      runs.push(run);
    }
  }
  return runs;
}

/** What of a run a range of bytes covers, and where the run begins; all in bytes of the LUN. */
function coveredOf({ firstBlock, blockCount }: Run, startByte: number, endByte: number) {
  const runStart = firstBlock * STORED_BLOCK_BYTES;
  const runEnd = runStart + blockCount * STORED_BLOCK_BYTES;
  return { runStart, from: Math.max(startByte, runStart), to: Math.min(endByte, runEnd) };
}

/**
 * The same as readCommitted, where that takes no waiting: each part is in memory, ours or the system's, and sound.
 * @param memory for what has to be copied; what lies there is valid as long as its owner says
 * @returns undefined when it is not so
 */
export function readCommittedNow(
  lun: Lun,
  log: Pick<LogBlocks, 'readAtNow'>,
  startByte: number,
  endByte: number,
  memory?: ReadMemory,
): readonly Uint8Array[] | undefined {
  const firstBlock = Math.floor(startByte / STORED_BLOCK_BYTES);
  const endBlock = Math.ceil(endByte / STORED_BLOCK_BYTES);
  let block = firstBlock;
  while (block < endBlock && lun.blocks.position(block) === 0) block++;
  // Mostly all of it is what the image has.
  if (block === endBlock) return lun.openedImage?.readNow?.(startByte, endByte - startByte);
  if (endBlock - firstBlock > MAX_BLOCKS_READ_NOW) return undefined;
  const parts: Uint8Array[] = [];
  for (const run of planRuns(lun, firstBlock, endBlock - firstBlock)) {
    const { runStart, from, to } = coveredOf(run, startByte, endByte);
    if (run.position < 0) {
      parts.push(ZEROS.subarray(0, to - from));
    } else if (run.position === 0) {
      const found = lun.openedImage?.readNow?.(from, to - from);
      if (found === undefined) return undefined;
      parts.push(...found);
    } else {
      if (log.readAtNow === undefined) return undefined;
      const lengthBytes = run.blockCount * STORED_BLOCK_BYTES;
      const bytes = memory?.take(lengthBytes) ?? new Uint8Array(lengthBytes);
      if (!log.readAtNow(run.position, bytes) || !isSound(bytes, lun, run)) return undefined;
      parts.push(bytes.subarray(from - runStart, to - runStart));
    }
  }
  return parts;
}

/** Used within one call at a time. */
const crcsFound = new Uint32Array(MAX_READ_RUN_BLOCKS);

function isSound(bytes: Uint8Array, lun: Lun, { firstBlock, blockCount }: Run): boolean {
  crc32cOfBlocks(bytes, 0, blockCount, crcsFound);
  for (let i = 0; i < blockCount; i++) {
    if (crcsFound[i] !== lun.blocks.crc(firstBlock + i)) return false;
  }
  return true;
}

/**
 * The committed content of a byte range, as views whose lengths add up to it. Where each block is read from
 * is settled before the first wait, so the answer is the content as of the call.
 * @throws DeviceError kind "medium-error" for a block that matches its checksum nowhere, and where the log or
 *   the base image cannot be opened or read; "not-serving" when the base image is not on this node
 */
export async function readCommitted(
  lun: Lun,
  log: LogBlocks,
  startByte: number,
  endByte: number,
): Promise<Uint8Array[]> {
  const firstBlock = Math.floor(startByte / STORED_BLOCK_BYTES);
  const blockCount = Math.ceil(endByte / STORED_BLOCK_BYTES) - firstBlock;
  const runs = planRuns(lun, firstBlock, blockCount).map((run) => ({
    run,
    crcs: Array.from({ length: run.position > 0 ? run.blockCount : 0 }, (_, i) =>
      lun.blocks.crc(run.firstBlock + i),
    ),
  }));
  return Promise.all(
    runs.map(({ run, crcs }) => {
      const { runStart, from, to } = coveredOf(run, startByte, endByte);
      if (run.position < 0) return Promise.resolve(ZEROS.subarray(0, to - from));
      return run.position === 0
        ? readImage(lun, from, to - from)
        : readLogged(run, crcs, log).then((bytes) => bytes.subarray(from - runStart, to - runStart));
    }),
  );
}

async function readImage(lun: Lun, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const { name, version } = lun.description.base;
  try {
    const image = await lun.image();
    if (image === undefined)
      throw new DeviceError('not-serving', `image ${name} version ${version} is not on this node`);
    return await image.read(offsetBytes, lengthBytes);
  } catch (error) {
    if (error instanceof DeviceError || error instanceof InvariantError) throw error;
    throw mediumError(`image ${name} version ${version}`, error);
  }
}

function mediumError(source: string, cause: unknown): DeviceError {
  return new DeviceError('medium-error', `${source} cannot be read: ${describeError(cause)}`, { cause });
}

async function readLogged(run: Run, crcs: readonly number[], log: LogBlocks): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await log.readAt(run.position, run.blockCount * STORED_BLOCK_BYTES);
  } catch (error) {
    // Even what the log takes for a bug: it may be closed or emptied under a read of one that serves no more.
    if (!(error instanceof LogCorruptionError)) throw mediumError('the log', error);
    bytes = new Uint8Array(run.blockCount * STORED_BLOCK_BYTES);
  }
  let sound = bytes;
  for (let i = 0; i < run.blockCount; i++) {
    const block = bytes.subarray(i * STORED_BLOCK_BYTES, (i + 1) * STORED_BLOCK_BYTES);
    if (crc32c(block) === crcs[i]) continue;
    const found = await soundBlock(log, run.position + i * STORED_BLOCK_BYTES, crcs[i] as number);
    if (found === undefined) {
      const lba = ((run.firstBlock + i) * STORED_BLOCK_BYTES) / LOGICAL_BLOCK_BYTES;
      throw new DeviceError('medium-error', `the data at LBA ${lba} does not match its checksum`, { lba });
    }
    if (sound === bytes) sound = Uint8Array.from(bytes);
    sound.set(found, i * STORED_BLOCK_BYTES);
  }
  return sound;
}

async function soundBlock(log: LogBlocks, position: number, crc: number): Promise<Uint8Array | undefined> {
  try {
    return await log.soundBlock(position, crc);
  } catch (error) {
    throw mediumError('the log', error);
  }
}
