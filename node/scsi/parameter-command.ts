import { ByteWriter } from '../../base/byte-writer.ts';
import { bit, bits, layout, u32, u64 } from '../../base/layout.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import {
  inquiryCdb,
  readCapacity10Cdb,
  readCapacity16Cdb,
  readDefectData10Cdb,
  readDefectData12Cdb,
  receiveDiagnosticCdb,
  reportLunsCdb,
  sendDiagnosticCdb,
  startStopUnitCdb,
} from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import { confirmServing } from './confirmation.ts';
import { encodeInquiry } from './inquiry.ts';
import { STORED_BLOCK_EXPONENT } from './limits.ts';
import {
  accept,
  answer,
  conflict,
  goodWithoutData,
  type PreparedCommand,
  refuse,
} from './prepared-command.ts';
import { invalidCdbField } from './sense.ts';
import { encodeVpdPage } from './vpd.ts';

/** Commands answered from what is known of the unit, without touching its blocks. */

/** READ CAPACITY (10) parameter data (SBC-3 §5.15.2). */
export const capacity10 = layout('READ CAPACITY(10) data', 8, { lastLba: u32(0), blockLength: u32(4) });

/** READ CAPACITY (16) parameter data (SBC-3 §5.16.2). */
export const capacity16 = layout('READ CAPACITY(16) data', 32, {
  lastLba: u64(0),
  blockLength: u32(8),
  blocksPerPhysicalExponent: bits(13, 0, 4),
  provisioningManaged: bit(14, 7),
  readsZeros: bit(14, 6),
});

export function prepareInquiry(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { identity, device, state } = unit;
  const { evpd, pageCode, allocationLength } = inquiryCdb.decode(cdb, at);
  if (!evpd) {
    if (pageCode !== 0) return refuse(invalidCdbField(2));
    return answer(encodeInquiry(unit), allocationLength);
  }
  const writeCacheEnabled = device.writeCacheEnabled && !state.isWriteThrough;
  const page = encodeVpdPage(pageCode, {
    identity,
    writeCacheEnabled,
    targetPort: unit.paths.ownPort,
  });
  return page === undefined ? refuse(invalidCdbField(2)) : answer(page, allocationLength);
}

export function prepareReadCapacity10(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { lba, partialMedium } = readCapacity10Cdb.decode(cdb, at);
  if (lba !== 0 && !partialMedium) return refuse(invalidCdbField(2));
  // All ones tells the initiator to ask again with READ CAPACITY (16).
  const lastLba = Math.min(unit.device.lengthBlocks - 1, 0xffff_ffff);
  return answer(capacity10.encode({ lastLba, blockLength: LOGICAL_BLOCK_BYTES }), capacity10.sizeBytes);
}

export function prepareReadCapacity16(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { allocationLength } = readCapacity16Cdb.decode(cdb, at);
  const data = capacity16.encode({
    lastLba: BigInt(unit.device.lengthBlocks - 1),
    blockLength: LOGICAL_BLOCK_BYTES,
    blocksPerPhysicalExponent: STORED_BLOCK_EXPONENT,
    provisioningManaged: true,
    readsZeros: true,
  });
  return answer(data, allocationLength);
}

/** READ DEFECT DATA (SBC-3 §5.17): whatever lists are asked for, there is nothing in them. */
export function prepareReadDefectData10(cdb: Uint8Array, at: number): PreparedCommand {
  const { lists, allocationLength } = readDefectData10Cdb.decode(cdb, at);
  return answer(new ByteWriter(4).u8(0).u8(lists).u16(0).finish(), allocationLength);
}

export function prepareReadDefectData12(cdb: Uint8Array, at: number): PreparedCommand {
  const { lists, allocationLength } = readDefectData12Cdb.decode(cdb, at);
  return answer(new ByteWriter(8).u8(0).u8(lists).u16(0).u32(0).finish(), allocationLength);
}

const SUPPORTED_DIAGNOSTIC_PAGES = 0;

/** RECEIVE DIAGNOSTIC RESULTS (SPC-4 §6.28): the one page there is lists itself. */
export function prepareReceiveDiagnostic(cdb: Uint8Array, at: number): PreparedCommand {
  const { pageCodeValid, pageCode, allocationLength } = receiveDiagnosticCdb.decode(cdb, at);
  if (pageCodeValid && pageCode !== SUPPORTED_DIAGNOSTIC_PAGES) return refuse(invalidCdbField(2));
  return answer(Uint8Array.of(0, 0, 0, 1, SUPPORTED_DIAGNOSTIC_PAGES), allocationLength);
}

/** SEND DIAGNOSTIC (SPC-4 §6.42): the default self-test passes at once; no other, and no page, is there. */
export function prepareSendDiagnostic(cdb: Uint8Array, at: number): PreparedCommand {
  const { selfTestCode, parameterListLength } = sendDiagnosticCdb.decode(cdb, at);
  if (selfTestCode !== 0) return refuse(invalidCdbField(1, 7));
  return parameterListLength === 0 ? accept : refuse(invalidCdbField(3));
}

/** Nothing to spin up and nothing to eject: any power condition is accepted, a load or unload is not. */
export function prepareStartStop(cdb: Uint8Array, at: number): PreparedCommand {
  const { powerCondition, loadEject } = startStopUnitCdb.decode(cdb, at);
  return powerCondition === 0 && loadEject ? refuse(invalidCdbField(4, 1)) : accept;
}

export function prepareTestUnitReady(): PreparedCommand {
  return accept;
}

/**
 * RESERVE (6) and RELEASE (6) (SPC-2 §7.21): where nexuses have registered for persistent reservations the two do not mix
 * (SPC-4 §5.13.3; CRH is 0).
 */
export function prepareReserve6(
  _cdb: Uint8Array,
  _at: number,
  { device, state, nexus }: CommandContext,
): PreparedCommand {
  return {
    kind: 'operation',
    name: 'reserve-6',
    dataOutBytes: 0,
    carryOut: async () => {
      await confirmServing(device);
      const isTaken = isReservedPersistently(state) || !state.reservation.reserve(nexus);
      return isTaken ? conflict : goodWithoutData;
    },
  };
}

function isReservedPersistently({ server }: CommandContext['state']): boolean {
  return server.reservations.registrations.length > 0;
}

export function prepareRelease6(
  _cdb: Uint8Array,
  _at: number,
  { device, state, nexus }: CommandContext,
): PreparedCommand {
  return {
    kind: 'operation',
    name: 'release-6',
    dataOutBytes: 0,
    carryOut: async () => {
      await confirmServing(device);
      if (isReservedPersistently(state)) return conflict;
      state.reservation.release(nexus);
      return goodWithoutData;
    },
  };
}

/** SELECT REPORT (SPC-4 table 293): 0 and 2 list the logical units, 1 the well-known ones, of which none exist. */
const selectReport = { units: 0, wellKnown: 1, all: 2 } as const;
const SMALLEST_REPORT_LUNS_BYTES = 16;

export function prepareReportLuns(cdb: Uint8Array, at: number, luns: readonly number[]): PreparedCommand {
  const fields = reportLunsCdb.decode(cdb, at);
  if (fields.allocationLength < SMALLEST_REPORT_LUNS_BYTES || fields.selectReport > selectReport.all) {
    return refuse(invalidCdbField(fields.selectReport > selectReport.all ? 2 : 6));
  }
  const listed = fields.selectReport === selectReport.wellKnown ? [] : luns;
  const out = new ByteWriter(8 + 8 * listed.length).u32(8 * listed.length).u32(0);
  for (const lun of listed) out.u16(encodeLun(lun)).zeros(6);
  return answer(out.finish(), fields.allocationLength);
}

/** First two bytes of a LUN: peripheral addressing below 256, flat space addressing above (SAM-5 §4.7.7). */
export function encodeLun(lun: number): number {
  return lun < 256 ? lun : 0x4000 | lun;
}

/** The number in the first word of a LUN field, or -1 for addressing this target does not use. */
export function decodeLun(highWord: number, lowWord: number): number {
  if (lowWord !== 0 || (highWord & 0xffff) !== 0) return -1;
  const first = highWord >>> 16;
  const method = first >>> 14;
  if (method === 0) return first <= 0xff ? first : -1;
  return method === 1 ? first & 0x3fff : -1;
}
