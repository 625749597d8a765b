import { ByteWriter } from '../../base/byte-writer.ts';
import { bits, bytes, layout, u8, u16, u32 } from '../../base/layout.ts';
import { DeviceError } from '../../storage/block-device.ts';
import { extendedCopyCdb, receiveCopyResultsCdb, serviceAction, wideLba } from './cdb.ts';
import type { CommandContext, CopyUnit } from './command-context.ts';
import {
  COPY_HEADER_BYTES,
  COPY_SEGMENT_BYTES,
  COPY_TARGET_BYTES,
  copyDescriptor,
  encodeOperatingParameters,
  MAX_COPY_DESCRIPTOR_BYTES,
} from './copy-limits.ts';
import type { CopyResult } from './copy-results.ts';
import {
  MAX_COPY_SEGMENTS,
  MAX_COPY_TARGETS,
  MAX_PARAMETER_LIST_BYTES,
  WRITE_STEP_BLOCKS,
} from './limits.ts';
import {
  accept,
  answer,
  checkCondition,
  goodWithoutData,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from './prepared-command.ts';
import { invalidCdbField, type Sense, sense } from './sense.ts';

/**
 * EXTENDED COPY with a list identifier of one byte (SPC-4 §6.4): blocks of this unit, or of another that the initiator has
 * a session with on this node, to places on either.
 */

export const copyHeader = layout('EXTENDED COPY list header', COPY_HEADER_BYTES, {
  listIdentifier: u8(0),
  targetsLength: u16(2),
  segmentsLength: u32(8),
  inlineLength: u32(12),
});

/** Identification descriptor target descriptor (SPC-4 §6.4.5.2). */
export const copyTarget = layout('copy target descriptor', COPY_TARGET_BYTES, {
  type: u8(0),
  designatorType: bits(5, 0, 4),
  designatorLength: u8(7),
  designator: bytes(8, 20),
});

/** Block device to block device segment descriptor (SPC-4 §6.4.6.7). */
export const copySegment = layout('copy segment descriptor', COPY_SEGMENT_BYTES, {
  type: u8(0),
  length: u16(2),
  source: u16(4),
  destination: u16(6),
  lengthBlocks: u16(10),
  sourceHigh: u32(12),
  sourceLow: u32(16),
  destinationHigh: u32(20),
  destinationLow: u32(24),
});

type Segment = ReturnType<typeof copySegment.decode>;

interface CopyList {
  readonly listIdentifier: number;
  /** The unit that each target descriptor names; undefined where it is not to be reached from here. */
  readonly targets: readonly (CopyUnit | undefined)[];
  readonly segments: readonly Segment[];
}

export function prepareExtendedCopy(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { parameterListLength } = extendedCopyCdb.decode(cdb, at);
  if (parameterListLength === 0) return accept;
  if (parameterListLength < COPY_HEADER_BYTES || parameterListLength > MAX_PARAMETER_LIST_BYTES) {
    return refuse(sense.parameterListLengthError);
  }
  return {
    kind: 'operation',
    name: 'extended-copy',
    dataOutBytes: parameterListLength,
    carryOut: (bytesOfList) => {
      const list = decodeCopyList(bytesOfList, unit);
      return 'asc' in list ? checkCondition(list) : copyAll(list, unit);
    },
  };
}

/** @returns what is wrong with it, if anything is */
function decodeCopyList(list: Uint8Array, unit: CommandContext): CopyList | Sense {
  const header = copyHeader.decode(list);
  const { targetsLength, segmentsLength, inlineLength } = header;
  const segmentsAt = COPY_HEADER_BYTES + targetsLength;
  if (segmentsAt + segmentsLength + inlineLength > list.length) return sense.parameterListLengthError;
  if (inlineLength > 0) return sense.inlineDataLengthExceeded;
  if (targetsLength + segmentsLength > MAX_COPY_DESCRIPTOR_BYTES) return sense.parameterListLengthError;
  if (targetsLength > MAX_COPY_TARGETS * COPY_TARGET_BYTES) return sense.tooManyTargetDescriptors;
  const targets: (CopyUnit | undefined)[] = [];
  for (let at = COPY_HEADER_BYTES; at < segmentsAt; at += COPY_TARGET_BYTES) {
    if (list[at] !== copyDescriptor.identification) return sense.unsupportedTargetDescriptor;
    if (segmentsAt - at < COPY_TARGET_BYTES) return sense.parameterListLengthError;
    targets.push(namedUnit(copyTarget.decode(list, at), unit));
  }
  const segments: Segment[] = [];
  const end = segmentsAt + segmentsLength;
  for (let at = segmentsAt; at < end; at += COPY_SEGMENT_BYTES) {
    if (segments.length === MAX_COPY_SEGMENTS) return sense.tooManySegmentDescriptors;
    if (list[at] !== copyDescriptor.blockToBlock) return sense.unsupportedSegmentDescriptor;
    if (end - at < COPY_SEGMENT_BYTES) return sense.parameterListLengthError;
    const segment = copySegment.decode(list, at);
    if (segment.length !== COPY_SEGMENT_BYTES - 4) return sense.parameterListLengthError;
    segments.push(segment);
  }
  return { listIdentifier: header.listIdentifier, targets, segments };
}

const NAA_DESIGNATOR = 3;

function namedUnit(target: ReturnType<typeof copyTarget.decode>, unit: CommandContext): CopyUnit | undefined {
  if (target.designatorType !== NAA_DESIGNATOR) return undefined;
  return unit.copyUnit(target.designator.subarray(0, target.designatorLength));
}

async function copyAll(list: CopyList, unit: CommandContext): Promise<ScsiOutcome> {
  let segmentsProcessed = 0;
  let blocksWritten = 0;
  const end = (failed: boolean): void => {
    const result: CopyResult = { failed, segmentsProcessed, blocksWritten };
    unit.state.copyResults.keep(unit.nexus, list.listIdentifier, result);
  };
  try {
    for (const segment of list.segments) {
      const range = rangeOf(segment, list);
      const failure = 'asc' in range ? range : await copyRange(range, unit);
      if (failure !== undefined) {
        end(true);
        return checkCondition(failure);
      }
      segmentsProcessed++;
      blocksWritten += segment.lengthBlocks;
    }
  } catch (error) {
    end(true);
    throw error;
  }
  end(false);
  return goodWithoutData;
}

interface CopyRange {
  readonly source: CopyUnit;
  readonly from: number;
  readonly destination: CopyUnit;
  readonly to: number;
  readonly lengthBlocks: number;
}

/** @returns why it may not be copied, if so */
function rangeOf(segment: Segment, { targets }: CopyList): CopyRange | Sense {
  const source = targets[segment.source];
  const destination = targets[segment.destination];
  if (source === undefined || destination === undefined) return sense.copyTargetNotReachable;
  const refusal = source.refusesCopy('read') ?? destination.refusesCopy('write');
  if (refusal !== undefined) return refusal;
  const { lengthBlocks } = segment;
  const from = wideLba(segment.sourceHigh, segment.sourceLow);
  const to = wideLba(segment.destinationHigh, segment.destinationLow);
  const isInside =
    from + lengthBlocks <= source.device.lengthBlocks && to + lengthBlocks <= destination.device.lengthBlocks;
  return isInside ? { source, from, destination, to, lengthBlocks } : sense.copySegmentFailed;
}

/** @returns why it ended early, if it did. @throws DeviceError of the unit's own device, other than of damaged data */
async function copyRange(range: CopyRange, unit: CommandContext): Promise<Sense | undefined> {
  const { source, from, destination, to, lengthBlocks } = range;
  const options = { forceUnitAccess: destination.state.isWriteThrough };
  const steps: { readonly at: number; readonly blocks: number }[] = [];
  for (let at = 0; at < lengthBlocks; at += WRITE_STEP_BLOCKS) {
    steps.push({ at, blocks: Math.min(WRITE_STEP_BLOCKS, lengthBlocks - at) });
  }
  // Where the ranges overlap, what is yet to be read must not be overwritten.
  if (source.device === destination.device && to > from) steps.reverse();
  let current = source;
  try {
    for (const { at, blocks } of steps) {
      current = source;
      const parts = await source.device.read(from + at, blocks);
      current = destination;
      await destination.state.gate.beside(() => destination.device.write(to + at, parts, options));
    }
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    if (error.kind === 'medium-error') return sense.copySegmentFailed;
    if (current.device === unit.device) throw error;
    return error.kind === 'not-serving' ? sense.copyTargetNotReachable : sense.thirdPartyDeviceFailure;
  }
  return undefined;
}

const COPY_STATUS_BYTES = 12;
const copyStatus = { completed: 1, failed: 2 } as const;
const UNITS_OF_BLOCKS = 0xf1;

/** RECEIVE COPY STATUS (LID1) and RECEIVE COPY OPERATING PARAMETERS (SPC-4 §6.24, §6.25). */
export function prepareReceiveCopyResults(
  cdb: Uint8Array,
  at: number,
  unit: CommandContext,
): PreparedCommand {
  const fields = receiveCopyResultsCdb.decode(cdb, at);
  if (fields.serviceAction === serviceAction.copyOperatingParameters) {
    return answer(encodeOperatingParameters(), fields.allocationLength);
  }
  const result = unit.state.copyResults.find(unit.nexus, fields.listIdentifier);
  if (result === undefined) return refuse(invalidCdbField(2));
  const data = new ByteWriter(COPY_STATUS_BYTES).u32(COPY_STATUS_BYTES - 4);
  data.u8(result.failed ? copyStatus.failed : copyStatus.completed).u16(result.segmentsProcessed);
  data.u8(UNITS_OF_BLOCKS).u32(Math.min(result.blocksWritten, 0xffff_ffff));
  return answer(data.finish(), fields.allocationLength);
}
