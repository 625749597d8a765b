import { ByteWriter } from '../../base/byte-writer.ts';
import { opcode, serviceAction } from './cdb.ts';
import {
  MAX_COPY_RESULTS,
  MAX_COPY_SEGMENT_BLOCKS,
  MAX_COPY_SEGMENTS,
  MAX_COPY_TARGETS,
  STORED_BLOCK_EXPONENT,
} from './limits.ts';

/** What EXTENDED COPY takes, as told by VPD page 8Fh and by RECEIVE COPY OPERATING PARAMETERS. */

export const COPY_HEADER_BYTES = 16;
export const COPY_TARGET_BYTES = 32;
export const COPY_SEGMENT_BYTES = 28;
/** Descriptor type codes (SPC-4 table 146): an identification target, and blocks to blocks. */
export const copyDescriptor = { identification: 0xe4, blockToBlock: 0x02 } as const;
export const MAX_COPY_DESCRIPTOR_BYTES =
  MAX_COPY_TARGETS * COPY_TARGET_BYTES + MAX_COPY_SEGMENTS * COPY_SEGMENT_BYTES;

const DESCRIPTORS = [copyDescriptor.blockToBlock, copyDescriptor.identification] as const;
/** Third-party copy descriptor types (SPC-4 table 602). */
const thirdPartyDescriptor = { commands: 0x0001, parameters: 0x0004, descriptors: 0x0008 } as const;

/** The body of the Third-party Copy VPD page (SPC-4 §7.8.17). */
export function encodeThirdPartyCopy(): Uint8Array {
  const commands = Uint8Array.from([
    ...[opcode.extendedCopy, 1, serviceAction.extendedCopyLid1],
    ...[opcode.receiveCopyResults, 2, serviceAction.copyStatusLid1, serviceAction.copyOperatingParameters],
  ]);
  const parameters = new ByteWriter(28).u32(0).u16(MAX_COPY_TARGETS).u16(MAX_COPY_SEGMENTS);
  parameters.u32(MAX_COPY_DESCRIPTOR_BYTES).zeros(16);
  const out = new ByteWriter(96);
  writeDescriptor(out, thirdPartyDescriptor.commands, counted(commands));
  writeDescriptor(out, thirdPartyDescriptor.parameters, parameters.finish());
  writeDescriptor(out, thirdPartyDescriptor.descriptors, counted(Uint8Array.from(DESCRIPTORS)));
  return out.finish();
}

function counted(list: Uint8Array): Uint8Array {
  return Uint8Array.of(list.length, ...list);
}

function writeDescriptor(out: ByteWriter, type: number, body: Uint8Array): void {
  // Padded, so that the next one begins at a multiple of four.
  const padded = (body.length + 3) & ~3;
  out
    .u16(type)
    .u16(padded)
    .bytes(body)
    .zeros(padded - body.length);
}

/** RECEIVE COPY OPERATING PARAMETERS data (SPC-4 §6.25). */
export function encodeOperatingParameters(): Uint8Array {
  const out = new ByteWriter(64);
  out.zeros(4).u16(MAX_COPY_TARGETS).u16(MAX_COPY_SEGMENTS).u32(MAX_COPY_DESCRIPTOR_BYTES);
  // Maximum segment length in bytes; no inline data, no held data, no stream device.
  out.u32(MAX_COPY_SEGMENT_BLOCKS * 512).zeros(12);
  out.zeros(2).u16(MAX_COPY_RESULTS).u8(MAX_COPY_RESULTS);
  // Granularities as powers of two; the last two are of what there is none of.
  out
    .u8(9 + STORED_BLOCK_EXPONENT)
    .u16(0)
    .zeros(3)
    .u8(DESCRIPTORS.length);
  for (const code of DESCRIPTORS) out.u8(code);
  const body = out.finish();
  return Buffer.concat([new ByteWriter(4).u32(body.length).finish(), body]);
}
