import { ByteWriter } from '../../base/byte-writer.ts';
import { bit, bits, layout, u8, u16 } from '../../base/layout.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';

/** Mode pages (SPC-4 §7.5, SBC-3 §6.5). None can be changed: there is no MODE SELECT. */
export const modePageCode = { errorRecovery: 0x01, caching: 0x08, control: 0x0a, all: 0x3f } as const;
const ALL_SUBPAGES = 0xff;

export const pageControl = { current: 0, changeable: 1, default: 2, saved: 3 } as const;

/** Read-Write Error Recovery (SBC-3 §6.5.8). AWRE and ARRE: bad blocks are mended without being asked. */
export const errorRecoveryPage = layout('Read-Write Error Recovery mode page', 12, {
  pageCode: bits(0, 0, 6),
  pageLength: u8(1),
  automaticWriteReallocation: bit(2, 7),
  automaticReadReallocation: bit(2, 6),
});

/** Caching (SBC-3 §6.5.5). */
export const cachingPage = layout('Caching mode page', 20, {
  pageCode: bits(0, 0, 6),
  pageLength: u8(1),
  writeCacheEnabled: bit(2, 2),
  readCacheDisabled: bit(2, 0),
});

/** Control (SPC-4 §7.5.8). TST 0: one task set for all initiators; D_SENSE 0: fixed format sense. */
export const controlPage = layout('Control mode page', 12, {
  pageCode: bits(0, 0, 6),
  pageLength: u8(1),
  taskSetType: bits(2, 5, 3),
  descriptorSense: bit(2, 2),
  queueAlgorithmModifier: bits(3, 4, 4),
  busyTimeoutPeriod: u16(8),
});

/** Unrestricted reordering allowed: simple tasks may end in any order. */
const REORDERING_UNRESTRICTED = 1;
const BUSY_TIMEOUT_UNLIMITED = 0xffff;

export interface ModeSenseQuestion {
  readonly pageCode: number;
  readonly subpageCode: number;
  readonly pageControl: number;
  readonly blockDescriptors: boolean;
  /** MODE SENSE(10) with LLBAA: block descriptors with 8-byte counts. */
  readonly longLba: boolean;
  /** The parameter header of MODE SENSE(10) rather than (6). */
  readonly longHeader: boolean;
}

export interface ModeSenseUnit {
  readonly lengthBlocks: number;
  readonly writeCacheEnabled: boolean;
  readonly readOnly: boolean;
}

/** The whole parameter list, or undefined when the unit has no such page. */
export function encodeModeSense(question: ModeSenseQuestion, unit: ModeSenseUnit): Uint8Array | undefined {
  const pages = encodePages(question, unit);
  if (pages === undefined) return undefined;
  const descriptor = question.blockDescriptors
    ? encodeBlockDescriptor(question.longLba, unit)
    : new Uint8Array();
  // WP, and DPOFUA: the DPO and FUA bits are accepted.
  const deviceSpecific = (unit.readOnly ? 0x80 : 0) | 0x10;
  const out = new ByteWriter(128);
  if (question.longHeader) {
    out
      .u16(6 + descriptor.length + pages.length)
      .u8(0)
      .u8(deviceSpecific);
    out
      .u8(question.longLba ? 1 : 0)
      .u8(0)
      .u16(descriptor.length);
  } else {
    out
      .u8(3 + descriptor.length + pages.length)
      .u8(0)
      .u8(deviceSpecific)
      .u8(descriptor.length);
  }
  return out.bytes(descriptor).bytes(pages).finish();
}

function encodePages(question: ModeSenseQuestion, unit: ModeSenseUnit): Uint8Array | undefined {
  if (question.subpageCode !== 0 && question.subpageCode !== ALL_SUBPAGES) return undefined;
  const zeroed = question.pageControl === pageControl.changeable;
  const wanted = question.pageCode;
  const pages: Uint8Array[] = [];
  for (const [code, encode] of PAGES) {
    if (wanted !== code && wanted !== modePageCode.all) continue;
    const page = encode(unit);
    // The mask of changeable bits is all zero after the page's own two-byte header.
    if (zeroed) page.fill(0, 2);
    pages.push(page);
  }
  return pages.length === 0 ? undefined : Buffer.concat(pages);
}

const PAGES: ReadonlyMap<number, (unit: ModeSenseUnit) => Uint8Array> = new Map([
  [
    modePageCode.errorRecovery,
    () =>
      errorRecoveryPage.encode({
        pageCode: modePageCode.errorRecovery,
        pageLength: errorRecoveryPage.sizeBytes - 2,
        automaticWriteReallocation: true,
        automaticReadReallocation: true,
      }),
  ],
  [
    modePageCode.caching,
    (unit: ModeSenseUnit) =>
      cachingPage.encode({
        pageCode: modePageCode.caching,
        pageLength: cachingPage.sizeBytes - 2,
        writeCacheEnabled: unit.writeCacheEnabled,
      }),
  ],
  [
    modePageCode.control,
    () =>
      controlPage.encode({
        pageCode: modePageCode.control,
        pageLength: controlPage.sizeBytes - 2,
        queueAlgorithmModifier: REORDERING_UNRESTRICTED,
        busyTimeoutPeriod: BUSY_TIMEOUT_UNLIMITED,
      }),
  ],
]);

/** Mode parameter block descriptors of direct-access devices (SBC-3 §6.5.2). */
function encodeBlockDescriptor(longLba: boolean, unit: ModeSenseUnit): Uint8Array {
  const out = new ByteWriter(16);
  if (longLba) return out.u64(BigInt(unit.lengthBlocks)).u32(0).u32(LOGICAL_BLOCK_BYTES).finish();
  // The reserved byte and the 24-bit block length are written as one word.
  return out.u32(Math.min(unit.lengthBlocks, 0xffff_ffff)).u32(LOGICAL_BLOCK_BYTES).finish();
}
