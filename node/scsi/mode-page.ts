import { ByteWriter } from '../../base/byte-writer.ts';
import { bit, bits, type Layout, layout, u8, u16 } from '../../base/layout.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import type { ModeParameters } from './server-state.ts';

/** Mode pages (SPC-4 §7.5, SBC-3 §6.5). What is changed stays changed: current and saved values are the same. */
const modePageCode = {
  errorRecovery: 0x01,
  caching: 0x08,
  control: 0x0a,
  informationalExceptions: 0x1c,
  all: 0x3f,
} as const;
const ALL_SUBPAGES = 0xff;

export const pageControl = { current: 0, changeable: 1, default: 2, saved: 3 } as const;

/**
 * Read-Write Error Recovery (SBC-3 §6.5.8). AWRE and ARRE: bad blocks are mended without being asked. LBPERE: the
 * threshold of thin provisioning is reported.
 */
export const errorRecoveryPage = layout('Read-Write Error Recovery mode page', 12, {
  saveable: bit(0, 7),
  pageCode: bits(0, 0, 6),
  pageLength: u8(1),
  automaticWriteReallocation: bit(2, 7),
  automaticReadReallocation: bit(2, 6),
  provisioningErrorsReported: bit(7, 7),
});

/** Caching (SBC-3 §6.5.5). */
export const cachingPage = layout('Caching mode page', 20, {
  saveable: bit(0, 7),
  pageCode: bits(0, 0, 6),
  pageLength: u8(1),
  writeCacheEnabled: bit(2, 2),
  readCacheDisabled: bit(2, 0),
});

/** Control (SPC-4 §7.5.8). TST 0: one task set for all initiators. D_SENSE: descriptor format sense data. */
export const controlPage = layout('Control mode page', 12, {
  saveable: bit(0, 7),
  pageCode: bits(0, 0, 6),
  pageLength: u8(1),
  taskSetType: bits(2, 5, 3),
  descriptorSense: bit(2, 2),
  queueAlgorithmModifier: bits(3, 4, 4),
  softwareWriteProtect: bit(4, 3),
  busyTimeoutPeriod: u16(8),
});

/** Informational Exceptions Control (SPC-4 §7.5.14). DEXCPT: none are reported. */
export const informationalExceptionsPage = layout('Informational Exceptions Control mode page', 12, {
  saveable: bit(0, 7),
  pageCode: bits(0, 0, 6),
  pageLength: u8(1),
  exceptionsDisabled: bit(2, 3),
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
  /** Whether the device has a write cache at all; what it is set to is among the modes. */
  readonly writeCacheEnabled: boolean;
  readonly readOnly: boolean;
  readonly modes: ModeParameters;
}

const DEFAULT_MODES: ModeParameters = {
  softwareWriteProtect: false,
  descriptorSense: false,
  writeCacheDisabled: false,
};

/** The whole parameter list, or undefined when the unit has no such page. */
export function encodeModeSense(question: ModeSenseQuestion, unit: ModeSenseUnit): Uint8Array | undefined {
  const pages = encodePages(question, unit);
  if (pages === undefined) return undefined;
  const descriptor = question.blockDescriptors
    ? encodeBlockDescriptor(question.longLba, unit)
    : new Uint8Array();
  // WP, and DPOFUA: the DPO and FUA bits are accepted.
  const isProtected = unit.readOnly || unit.modes.softwareWriteProtect;
  const deviceSpecific = (isProtected ? 0x80 : 0) | 0x10;
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

/** Whether the code is of one subpage, rather than of none or all. */
export function isSubpage(subpageCode: number): boolean {
  return subpageCode !== 0 && subpageCode !== ALL_SUBPAGES;
}

function encodePages(question: ModeSenseQuestion, unit: ModeSenseUnit): Uint8Array | undefined {
  if (isSubpage(question.subpageCode)) return undefined;
  const wanted = question.pageCode;
  const pages: Uint8Array[] = [];
  for (const [code, page] of PAGES) {
    if (wanted === code || wanted === modePageCode.all) pages.push(encodePage(page, question, unit));
  }
  return pages.length === 0 ? undefined : Buffer.concat(pages);
}

function encodePage(page: ModePage, question: ModeSenseQuestion, unit: ModeSenseUnit): Uint8Array {
  if (question.pageControl === pageControl.changeable) return page.changeable(unit);
  const modes = question.pageControl === pageControl.default ? DEFAULT_MODES : unit.modes;
  return page.encode({ ...unit, modes });
}

export interface ModePage {
  readonly lengthBytes: number;
  encode(unit: ModeSenseUnit): Uint8Array;
  /** Ones for what MODE SELECT may change, after the page's own two-byte header. */
  changeable(unit: ModeSenseUnit): Uint8Array;
  /** The parameters as a page that differs in changeable bits only would have them. */
  apply(page: Uint8Array, modes: ModeParameters): ModeParameters;
}

/** A page whose header is the same in all its forms. */
function definePage<V extends { saveable: boolean; pageCode: number; pageLength: number }>(
  pageCode: number,
  form: Layout<V>,
  content: {
    readonly current: (unit: ModeSenseUnit) => Partial<V>;
    readonly mask?: (unit: ModeSenseUnit) => Partial<V>;
    readonly apply?: (fields: V, modes: ModeParameters) => ModeParameters;
  },
): [number, ModePage] {
  const header = { saveable: true, pageCode, pageLength: form.sizeBytes - 2 } as Partial<V>;
  return [
    pageCode,
    {
      lengthBytes: form.sizeBytes,
      encode: (unit) => form.encode({ ...content.current(unit), ...header }),
      changeable: (unit) => form.encode({ ...content.mask?.(unit), ...header }),
      apply: (page, modes) => content.apply?.(form.decode(page), modes) ?? modes,
    },
  ];
}

export const PAGES: ReadonlyMap<number, ModePage> = new Map([
  definePage(modePageCode.errorRecovery, errorRecoveryPage, {
    current: () => ({
      automaticWriteReallocation: true,
      automaticReadReallocation: true,
      provisioningErrorsReported: true,
    }),
  }),
  definePage(modePageCode.caching, cachingPage, {
    current: (unit) => ({ writeCacheEnabled: unit.writeCacheEnabled && !unit.modes.writeCacheDisabled }),
    mask: (unit) => ({ writeCacheEnabled: unit.writeCacheEnabled }),
    apply: ({ writeCacheEnabled }, modes) => ({ ...modes, writeCacheDisabled: !writeCacheEnabled }),
  }),
  definePage(modePageCode.control, controlPage, {
    current: ({ modes }) => ({
      descriptorSense: modes.descriptorSense,
      softwareWriteProtect: modes.softwareWriteProtect,
      queueAlgorithmModifier: REORDERING_UNRESTRICTED,
      busyTimeoutPeriod: BUSY_TIMEOUT_UNLIMITED,
    }),
    mask: () => ({ descriptorSense: true, softwareWriteProtect: true }),
    apply: ({ descriptorSense, softwareWriteProtect }, modes) => ({
      ...modes,
      descriptorSense,
      softwareWriteProtect,
    }),
  }),
  definePage(modePageCode.informationalExceptions, informationalExceptionsPage, {
    current: () => ({ exceptionsDisabled: true }),
  }),
]);

/** Mode parameter block descriptors of direct-access devices (SBC-3 §6.5.2). */
function encodeBlockDescriptor(longLba: boolean, unit: ModeSenseUnit): Uint8Array {
  const out = new ByteWriter(16);
  if (longLba) return out.u64(BigInt(unit.lengthBlocks)).u32(0).u32(LOGICAL_BLOCK_BYTES).finish();
  // The reserved byte and the 24-bit block length are written as one word.
  return out.u32(Math.min(unit.lengthBlocks, 0xffff_ffff)).u32(LOGICAL_BLOCK_BYTES).finish();
}
