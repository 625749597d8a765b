import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import {
  compareAndWriteCdb,
  prefetch10Cdb,
  prefetch16Cdb,
  rw16Cdb,
  wideLba,
  writeSame10Cdb,
  writeSame16Cdb,
} from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import {
  MAX_PREFETCH_BLOCKS,
  MAX_TRANSFER_BLOCKS,
  MAX_WRITE_SAME_BLOCKS,
  VERIFY_STEP_BLOCKS,
  WRITE_STEP_BLOCKS,
} from './limits.ts';
import { refuseRange } from './media-command.ts';
import {
  accept,
  checkCondition,
  goodWithoutData,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from './prepared-command.ts';
import { invalidCdbField, sense } from './sense.ts';

/** Commands that write what they work out themselves: COMPARE AND WRITE, ORWRITE, WRITE SAME; and PRE-FETCH. */

/** COMPARE AND WRITE (SBC-3 §5.2): data to compare with, then data to write; nothing comes in between. */
export function prepareCompareAndWrite(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { protect, fua, lbaHigh, lbaLow, length } = compareAndWriteCdb.decode(cdb, at);
  const { device, state } = unit;
  const lba = wideLba(lbaHigh, lbaLow);
  const refusal = refuseRange({ protect, lba, lengthBlocks: length }, device, MAX_TRANSFER_BLOCKS);
  if (refusal !== undefined) return refusal;
  const lengthBytes = length * LOGICAL_BLOCK_BYTES;
  return {
    kind: 'operation',
    name: 'compare-and-write',
    lba,
    dataOutBytes: 2 * lengthBytes,
    exactData: true,
    carryOut: (data) =>
      state.gate.alone(async () => {
        if (length === 0) return goodWithoutData;
        const found = Buffer.concat(await device.read(lba, length));
        const differing = firstDifference(found, data.subarray(0, lengthBytes));
        if (differing >= 0) return checkCondition({ ...sense.miscompare, information: differing });
        const forceUnitAccess = fua || state.isWriteThrough;
        await device.write(lba, [data.subarray(lengthBytes)], { forceUnitAccess });
        return goodWithoutData;
      }),
  };
}

/** @returns -1 when they are the same */
export function firstDifference(found: Uint8Array, expected: Uint8Array): number {
  if (Buffer.compare(found, expected) === 0) return -1;
  return expected.findIndex((byte, i) => byte !== found[i]);
}

/** ORWRITE (16) (SBC-3 §5.7). */
export function prepareOrWrite(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { protect, fua, lbaHigh, lbaLow, length } = rw16Cdb.decode(cdb, at);
  const { device, state } = unit;
  const lba = wideLba(lbaHigh, lbaLow);
  const refusal = refuseRange({ protect, lba, lengthBlocks: length }, device, MAX_TRANSFER_BLOCKS);
  if (refusal !== undefined) return refusal;
  if (length === 0) return accept;
  return {
    kind: 'operation',
    name: 'orwrite',
    lba,
    dataOutBytes: length * LOGICAL_BLOCK_BYTES,
    carryOut: (data) =>
      state.gate.alone(async () => {
        const merged = Buffer.concat(await device.read(lba, length));
        for (let i = 0; i < merged.length; i++) merged[i] = (merged[i] as number) | (data[i] as number);
        await device.write(lba, [merged], { forceUnitAccess: fua || state.isWriteThrough });
        return goodWithoutData;
      }),
  };
}

interface WriteSame {
  readonly protect: number;
  readonly unmap: boolean;
  readonly noDataOut: boolean;
  readonly lba: number;
  readonly length: number;
  readonly lengthAt: number;
}

export function prepareWriteSame10(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  return prepareWriteSame({ ...writeSame10Cdb.decode(cdb, at), noDataOut: false, lengthAt: 7 }, unit);
}

export function prepareWriteSame16(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const fields = writeSame16Cdb.decode(cdb, at);
  return prepareWriteSame({ ...fields, lba: wideLba(fields.lbaHigh, fields.lbaLow), lengthAt: 10 }, unit);
}

/** WRITE SAME (SBC-3 §5.42): a length of 0 reaches to the end of the medium. */
function prepareWriteSame(fields: WriteSame, unit: CommandContext): PreparedCommand {
  const { protect, lba, length, lengthAt } = fields;
  const { device } = unit;
  const lengthBlocks = length === 0 ? Math.max(0, device.lengthBlocks - lba) : length;
  const refusal = refuseRange({ protect, lba, lengthBlocks }, device, Number.POSITIVE_INFINITY);
  if (refusal !== undefined) return refusal;
  if (lengthBlocks > MAX_WRITE_SAME_BLOCKS) return refuse(invalidCdbField(lengthAt));
  return {
    kind: 'operation',
    name: 'write-same',
    lba,
    dataOutBytes: fields.noDataOut ? 0 : LOGICAL_BLOCK_BYTES,
    exactData: true,
    carryOut: (block) => {
      const range = { lba, lengthBlocks };
      // Blocks that are to be zeros may be given up at any time where LBPRZ is set (SBC-3 §4.7.3.5).
      const discards = fields.unmap || block.every((byte) => byte === 0);
      return discards ? discard(range, unit) : writeSame(range, block, unit);
    },
  };
}

interface Range {
  readonly lba: number;
  readonly lengthBlocks: number;
}

async function discard(
  { lba, lengthBlocks }: Range,
  { device, state }: CommandContext,
): Promise<ScsiOutcome> {
  await state.gate.beside(() => device.discard(lba, lengthBlocks));
  if (state.isWriteThrough) await device.flush();
  return goodWithoutData;
}

async function writeSame(
  { lba, lengthBlocks }: Range,
  block: Uint8Array,
  { device, state }: CommandContext,
): Promise<ScsiOutcome> {
  const step = Buffer.alloc(Math.min(lengthBlocks, WRITE_STEP_BLOCKS) * LOGICAL_BLOCK_BYTES, block);
  for (let done = 0; done < lengthBlocks; done += WRITE_STEP_BLOCKS) {
    const blocks = Math.min(WRITE_STEP_BLOCKS, lengthBlocks - done);
    const data = [step.subarray(0, blocks * LOGICAL_BLOCK_BYTES)];
    await state.gate.beside(() => device.write(lba + done, data, { forceUnitAccess: state.isWriteThrough }));
  }
  return goodWithoutData;
}

export function preparePrefetch10(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { immediate, lba, length } = prefetch10Cdb.decode(cdb, at);
  return preparePrefetch({ immediate, lba, length }, unit);
}

export function preparePrefetch16(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { immediate, lbaHigh, lbaLow, length } = prefetch16Cdb.decode(cdb, at);
  return preparePrefetch({ immediate, lba: wideLba(lbaHigh, lbaLow), length }, unit);
}

/** PRE-FETCH (SBC-3 §5.9): reads ahead as far as is reasonable, and keeps to GOOD, which promises nothing. */
function preparePrefetch(
  fields: { readonly immediate: boolean; readonly lba: number; readonly length: number },
  { device }: CommandContext,
): PreparedCommand {
  const { immediate, lba, length } = fields;
  const wanted = length === 0 ? Math.max(0, device.lengthBlocks - lba) : length;
  const refusal = refuseRange({ protect: 0, lba, lengthBlocks: wanted }, device, Number.POSITIVE_INFINITY);
  if (refusal !== undefined) return refusal;
  // What cannot wait for the reading does without: the initiator's own reads will fetch it.
  if (immediate) return accept;
  const lengthBlocks = Math.min(wanted, MAX_PREFETCH_BLOCKS);
  return {
    kind: 'operation',
    name: 'pre-fetch',
    lba,
    dataOutBytes: 0,
    carryOut: async () => {
      for (let done = 0; done < lengthBlocks; done += VERIFY_STEP_BLOCKS) {
        await device.read(lba + done, Math.min(VERIFY_STEP_BLOCKS, lengthBlocks - done));
      }
      return goodWithoutData;
    },
  };
}
