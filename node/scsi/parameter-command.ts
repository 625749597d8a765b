import { ByteWriter } from '../../base/byte-writer.ts';
import { bits, layout, u16, u32, u64 } from '../../base/layout.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import {
  inquiryCdb,
  modeSense6Cdb,
  modeSense10Cdb,
  persistentReserveInCdb,
  readCapacity10Cdb,
  readCapacity16Cdb,
  reportLunsCdb,
  serviceAction,
} from './cdb.ts';
import type { LogicalUnitIdentity } from './identity.ts';
import { encodeInquiry } from './inquiry.ts';
import { encodeModeSense, type ModeSenseUnit, pageControl } from './mode-page.ts';
import { answer, type PreparedCommand, refuse } from './prepared-command.ts';
import { sense } from './sense.ts';
import { encodeVpdPage } from './vpd.ts';

/** Commands answered from what is known of the unit, without touching its blocks. */

/** READ CAPACITY (10) parameter data (SBC-3 §5.15.2). */
export const capacity10 = layout('READ CAPACITY(10) data', 8, { lastLba: u32(0), blockLength: u32(4) });

/** READ CAPACITY (16) parameter data (SBC-3 §5.16.2). */
export const capacity16 = layout('READ CAPACITY(16) data', 32, {
  lastLba: u64(0),
  blockLength: u32(8),
  blocksPerPhysicalExponent: bits(13, 0, 4),
  lowestAlignedLba: u16(14),
});

/** Data is kept in blocks of 4 KiB: 2^3 logical blocks each. */
const BLOCKS_PER_PHYSICAL_EXPONENT = 3;

export function prepareInquiry(cdb: Uint8Array, at: number, identity: LogicalUnitIdentity): PreparedCommand {
  const { evpd, pageCode, allocationLength } = inquiryCdb.decode(cdb, at);
  if (!evpd) {
    if (pageCode !== 0) return refuse(sense.invalidFieldInCdb);
    return answer(encodeInquiry(identity), allocationLength);
  }
  const page = encodeVpdPage(pageCode, identity);
  return page === undefined ? refuse(sense.invalidFieldInCdb) : answer(page, allocationLength);
}

export function prepareModeSense6(cdb: Uint8Array, at: number, unit: ModeSenseUnit): PreparedCommand {
  const fields = modeSense6Cdb.decode(cdb, at);
  return prepareModeSense({ ...fields, longLba: false, longHeader: false }, unit);
}

export function prepareModeSense10(cdb: Uint8Array, at: number, unit: ModeSenseUnit): PreparedCommand {
  const fields = modeSense10Cdb.decode(cdb, at);
  return prepareModeSense({ ...fields, longHeader: true }, unit);
}

interface ModeSenseFields {
  readonly disableBlockDescriptors: boolean;
  readonly pageControl: number;
  readonly pageCode: number;
  readonly subpageCode: number;
  readonly allocationLength: number;
  readonly longLba: boolean;
  readonly longHeader: boolean;
}

function prepareModeSense(fields: ModeSenseFields, unit: ModeSenseUnit): PreparedCommand {
  if (fields.pageControl === pageControl.saved) return refuse(sense.savingParametersNotSupported);
  const data = encodeModeSense({ ...fields, blockDescriptors: !fields.disableBlockDescriptors }, unit);
  return data === undefined ? refuse(sense.invalidFieldInCdb) : answer(data, fields.allocationLength);
}

export function prepareReadCapacity10(cdb: Uint8Array, at: number, lengthBlocks: number): PreparedCommand {
  const { lba, partialMedium } = readCapacity10Cdb.decode(cdb, at);
  if (lba !== 0 && !partialMedium) return refuse(sense.invalidFieldInCdb);
  // All ones tells the initiator to ask again with READ CAPACITY (16).
  const lastLba = Math.min(lengthBlocks - 1, 0xffff_ffff);
  return answer(capacity10.encode({ lastLba, blockLength: LOGICAL_BLOCK_BYTES }), capacity10.sizeBytes);
}

export function prepareReadCapacity16(cdb: Uint8Array, at: number, lengthBlocks: number): PreparedCommand {
  const { allocationLength } = readCapacity16Cdb.decode(cdb, at);
  const data = capacity16.encode({
    lastLba: BigInt(lengthBlocks - 1),
    blockLength: LOGICAL_BLOCK_BYTES,
    blocksPerPhysicalExponent: BLOCKS_PER_PHYSICAL_EXPONENT,
  });
  return answer(data, allocationLength);
}

/** SELECT REPORT (SPC-4 table 293): 0 and 2 list the logical units, 1 the well-known ones, of which none exist. */
const selectReport = { units: 0, wellKnown: 1, all: 2 } as const;
const SMALLEST_REPORT_LUNS_BYTES = 16;

export function prepareReportLuns(cdb: Uint8Array, at: number, luns: readonly number[]): PreparedCommand {
  const fields = reportLunsCdb.decode(cdb, at);
  if (fields.allocationLength < SMALLEST_REPORT_LUNS_BYTES || fields.selectReport > selectReport.all) {
    return refuse(sense.invalidFieldInCdb);
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

/** There are no registrations: PERSISTENT RESERVE OUT is not supported (SPC-4 §6.15). */
export function preparePersistentReserveIn(cdb: Uint8Array, at: number): PreparedCommand {
  const fields = persistentReserveInCdb.decode(cdb, at);
  switch (fields.serviceAction) {
    case serviceAction.readKeys:
    case serviceAction.readReservation:
    case serviceAction.readFullStatus:
      // PRGENERATION and ADDITIONAL LENGTH, both zero.
      return answer(new Uint8Array(8), fields.allocationLength);
    case serviceAction.reportCapabilities:
      // LENGTH 8; no capability and no valid type mask.
      return answer(Uint8Array.of(0, 8, 0, 0, 0, 0, 0, 0), fields.allocationLength);
    default:
      return refuse(sense.invalidFieldInCdb);
  }
}
