import { ByteWriter } from '../../base/byte-writer.ts';
import { layout, u16, u32 } from '../../base/layout.ts';
import type { BlockDevice } from '../../storage/block-device.ts';
import { getLbaStatusCdb, unmapCdb, wideLba } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import {
  MAX_LBA_STATUS_DESCRIPTORS,
  MAX_LBA_STATUS_LOOKS,
  MAX_PARAMETER_LIST_BYTES,
  MAX_UNMAP_BLOCKS,
  MAX_UNMAP_DESCRIPTORS,
  STORED_BLOCK_LOGICAL_BLOCKS,
} from './limits.ts';
import {
  accept,
  checkCondition,
  goodWith,
  goodWithoutData,
  type PreparedCommand,
  refuse,
} from './prepared-command.ts';
import { invalidListField, type Sense, sense } from './sense.ts';

/** Thin provisioning (SBC-3 §4.7): UNMAP and GET LBA STATUS. */

/** UNMAP parameter list header (SBC-3 table 94) and its block descriptors. */
export const unmapHeader = layout('UNMAP list header', 8, { dataLength: u16(0), descriptorsLength: u16(2) });
export const unmapDescriptor = layout('UNMAP block descriptor', 16, {
  lbaHigh: u32(0),
  lbaLow: u32(4),
  length: u32(8),
});

interface Range {
  readonly lba: number;
  readonly length: number;
}

export function prepareUnmap(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { parameterListLength } = unmapCdb.decode(cdb, at);
  if (parameterListLength === 0) return accept;
  if (parameterListLength < unmapHeader.sizeBytes || parameterListLength > MAX_PARAMETER_LIST_BYTES) {
    return refuse(sense.parameterListLengthError);
  }
  const { device, state } = unit;
  return {
    kind: 'operation',
    name: 'unmap',
    dataOutBytes: parameterListLength,
    carryOut: async (list) => {
      const ranges = decodeUnmap(list, device);
      if ('asc' in ranges) return checkCondition(ranges);
      for (const { lba, length } of ranges) {
        if (length > 0) await state.gate.beside(() => device.discard(lba, length));
      }
      if (state.isWriteThrough) await device.flush();
      return goodWithoutData;
    },
  };
}

/** @returns what is wrong with it, if anything is: then nothing is given up */
function decodeUnmap(list: Uint8Array, device: BlockDevice): readonly Range[] | Sense {
  const { descriptorsLength } = unmapHeader.decode(list);
  const ranges: Range[] = [];
  let total = 0;
  // Whatever lies beyond the list, or is no whole descriptor, is ignored (SBC-3 §5.28.2).
  const end = Math.min(unmapHeader.sizeBytes + descriptorsLength, list.length);
  for (
    let at = unmapHeader.sizeBytes;
    at + unmapDescriptor.sizeBytes <= end;
    at += unmapDescriptor.sizeBytes
  ) {
    const { lbaHigh, lbaLow, length } = unmapDescriptor.decode(list, at);
    const lba = wideLba(lbaHigh, lbaLow);
    if (lba + length > device.lengthBlocks) return { ...sense.lbaOutOfRange, information: lba };
    total += length;
    if (total > MAX_UNMAP_BLOCKS) return invalidListField(at + 8);
    if (ranges.length === MAX_UNMAP_DESCRIPTORS) return invalidListField(2);
    ranges.push({ lba, length });
  }
  return ranges;
}

const DESCRIPTOR_BYTES = 16;
const HEADER_BYTES = 8;
const provisioningStatus = { mapped: 0, deallocated: 1 } as const;

export function prepareGetLbaStatus(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { lbaHigh, lbaLow, allocationLength } = getLbaStatusCdb.decode(cdb, at);
  const lba = wideLba(lbaHigh, lbaLow);
  if (lba >= unit.device.lengthBlocks) return refuse({ ...sense.lbaOutOfRange, information: lba });
  const fitting = Math.floor((allocationLength - HEADER_BYTES) / DESCRIPTOR_BYTES);
  const wanted = Math.min(Math.max(1, fitting), MAX_LBA_STATUS_DESCRIPTORS);
  return {
    kind: 'operation',
    name: 'get-lba-status',
    lba,
    dataOutBytes: 0,
    carryOut: async () => {
      const from = firstWholeBlock(lba, unit.device.lengthBlocks);
      return goodWith(await encodeLbaStatus(from, wanted, unit.device), allocationLength);
    },
  };
}

/**
 * Where the answer begins: what takes space are stored blocks, and the first that begins at the address or after
 * it is told of first. (libiscsi's suite wants just that of a unit with several logical blocks in a physical one.)
 */
function firstWholeBlock(lba: number, lengthBlocks: number): number {
  const first = Math.ceil(lba / STORED_BLOCK_LOGICAL_BLOCKS) * STORED_BLOCK_LOGICAL_BLOCKS;
  return first < lengthBlocks ? first : lba;
}

/** Runs of blocks that are all mapped or all not, as far as they fit and can be found with few looks. */
async function encodeLbaStatus(lba: number, wanted: number, device: BlockDevice): Promise<Uint8Array> {
  const runs: { lba: number; length: number; allocated: boolean }[] = [];
  let at = lba;
  for (let looks = 0; at < device.lengthBlocks && looks < MAX_LBA_STATUS_LOOKS; looks++) {
    const { allocated, lengthBlocks } = await device.allocation(at);
    const last = runs.at(-1);
    if (last?.allocated === allocated && last.length + lengthBlocks <= 0xffff_ffff)
      last.length += lengthBlocks;
    else if (runs.length === wanted) break;
    else runs.push({ lba: at, length: lengthBlocks, allocated });
    at += lengthBlocks;
  }
  const out = new ByteWriter(HEADER_BYTES + runs.length * DESCRIPTOR_BYTES);
  out.u32(4 + runs.length * DESCRIPTOR_BYTES).u32(0);
  for (const run of runs) {
    out.u64(BigInt(run.lba)).u32(run.length);
    out.u8(run.allocated ? provisioningStatus.mapped : provisioningStatus.deallocated).zeros(3);
  }
  return out.finish();
}
