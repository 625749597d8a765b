import { ByteWriter } from '../../base/byte-writer.ts';
import { bit, bits, layout, u8, u16, u32, u64 } from '../../base/layout.ts';
import { MAX_ATOMIC_WRITE_BLOCKS } from '../../storage/block-device.ts';
import { encodeThirdPartyCopy } from './copy-limits.ts';
import { asciiField, type LogicalUnitIdentity } from './identity.ts';
import {
  MAX_COMPARE_AND_WRITE_BLOCKS,
  MAX_PREFETCH_BLOCKS,
  MAX_TRANSFER_BLOCKS,
  MAX_UNMAP_BLOCKS,
  MAX_UNMAP_DESCRIPTORS,
  MAX_WRITE_SAME_BLOCKS,
  OPTIMAL_TRANSFER_BLOCKS,
  STORED_BLOCK_LOGICAL_BLOCKS,
} from './limits.ts';

/** Vital product data (SPC-4 §7.8, SBC-3 §6.6). */
const vpdPage = {
  supportedPages: 0x00,
  unitSerialNumber: 0x80,
  deviceIdentification: 0x83,
  extendedInquiry: 0x86,
  thirdPartyCopy: 0x8f,
  blockLimits: 0xb0,
  blockDeviceCharacteristics: 0xb1,
  logicalBlockProvisioning: 0xb2,
} as const;

/** Extended INQUIRY Data (SPC-4 §7.8.7), without the 4-byte page header. */
export const extendedInquiry = layout('Extended INQUIRY Data VPD page', 60, {
  headOfQueueTasks: bit(1, 2),
  orderedTasks: bit(1, 1),
  simpleTasks: bit(1, 0),
  volatileCache: bit(2, 0),
});

/** Block Limits (SBC-3 §6.6.4), without the 4-byte page header. */
export const blockLimits = layout('Block Limits VPD page', 60, {
  maximumCompareAndWriteBlocks: u8(1),
  optimalGranularityBlocks: u16(2),
  maximumTransferBlocks: u32(4),
  optimalTransferBlocks: u32(8),
  maximumPrefetchBlocks: u32(12),
  maximumUnmapBlocks: u32(16),
  maximumUnmapDescriptors: u32(20),
  optimalUnmapGranularityBlocks: u32(24),
  unmapAlignmentValid: bit(28, 7),
  maximumWriteSameBlocks: u64(32),
  maximumAtomicBlocks: u32(40),
});

/** Block Device Characteristics (SBC-3 §6.6.2), without the page header. */
export const blockCharacteristics = layout('Block Device Characteristics VPD page', 60, {
  rotationRate: u16(0),
  afterBlockErase: bits(3, 6, 2),
  afterCryptoErase: bits(3, 4, 2),
});

/** Logical Block Provisioning (SBC-3 §6.6.6), without the page header. */
export const provisioning = layout('Logical Block Provisioning VPD page', 4, {
  thresholdExponent: u8(0),
  unmap: bit(1, 7),
  writeSame16Unmap: bit(1, 6),
  writeSame10Unmap: bit(1, 5),
  readsZeros: bits(1, 2, 3),
  provisioningType: bits(2, 0, 3),
});

const NON_ROTATING = 1;
/** WABEREQ and WACEREQ: what was erased can be read, without being written first. */
const READS_SUCCEED = 1;
/** LBPRZ xx1b: blocks given up read as zeros. */
const READS_ZEROS = 1;
const THIN = 2;

interface VpdUnit {
  readonly identity: LogicalUnitIdentity;
  readonly writeCacheEnabled: boolean;
  /** The port that it is asked by: its relative identifier, and the tag of its group. */
  readonly targetPort: number;
}

type PageBody = (unit: VpdUnit) => Uint8Array;
const PAGES: ReadonlyMap<number, PageBody> = new Map<number, PageBody>([
  [vpdPage.supportedPages, () => Uint8Array.from(PAGES.keys())],
  [vpdPage.unitSerialNumber, ({ identity }) => Buffer.from(identity.serial, 'latin1')],
  [vpdPage.deviceIdentification, encodeDesignators],
  [
    vpdPage.extendedInquiry,
    ({ writeCacheEnabled }) =>
      extendedInquiry.encode({
        headOfQueueTasks: true,
        orderedTasks: true,
        simpleTasks: true,
        volatileCache: writeCacheEnabled,
      }),
  ],
  [vpdPage.thirdPartyCopy, encodeThirdPartyCopy],
  [
    vpdPage.blockLimits,
    () =>
      blockLimits.encode({
        maximumCompareAndWriteBlocks: MAX_COMPARE_AND_WRITE_BLOCKS,
        optimalGranularityBlocks: STORED_BLOCK_LOGICAL_BLOCKS,
        maximumTransferBlocks: MAX_TRANSFER_BLOCKS,
        optimalTransferBlocks: OPTIMAL_TRANSFER_BLOCKS,
        maximumPrefetchBlocks: MAX_PREFETCH_BLOCKS,
        maximumUnmapBlocks: MAX_UNMAP_BLOCKS,
        maximumUnmapDescriptors: MAX_UNMAP_DESCRIPTORS,
        optimalUnmapGranularityBlocks: STORED_BLOCK_LOGICAL_BLOCKS,
        unmapAlignmentValid: true,
        maximumWriteSameBlocks: BigInt(MAX_WRITE_SAME_BLOCKS),
        maximumAtomicBlocks: MAX_ATOMIC_WRITE_BLOCKS,
      }),
  ],
  [
    vpdPage.blockDeviceCharacteristics,
    () =>
      blockCharacteristics.encode({
        rotationRate: NON_ROTATING,
        afterBlockErase: READS_SUCCEED,
        afterCryptoErase: READS_SUCCEED,
      }),
  ],
  [
    vpdPage.logicalBlockProvisioning,
    () =>
      provisioning.encode({
        unmap: true,
        writeSame16Unmap: true,
        writeSame10Unmap: true,
        readsZeros: READS_ZEROS,
        provisioningType: THIN,
      }),
  ],
]);

/** A whole VPD page, or undefined when the unit has none of that code. */
export function encodeVpdPage(pageCode: number, unit: VpdUnit): Uint8Array | undefined {
  const body = PAGES.get(pageCode)?.(unit);
  if (body === undefined) return undefined;
  // Byte 0 is the peripheral: 0 for a connected direct-access block device.
  return new ByteWriter(4 + body.length).u8(0).u8(pageCode).u16(body.length).bytes(body).finish();
}

const codeSet = { binary: 1, ascii: 2, utf8: 3 } as const;
const association = { logicalUnit: 0, targetPort: 1, targetDevice: 2 } as const;
const designatorType = {
  t10Vendor: 1,
  naa: 3,
  relativeTargetPort: 4,
  targetPortGroup: 5,
  scsiName: 8,
} as const;
const PROTOCOL_ISCSI = 5;

/**
 * Device Identification (SPC-4 §7.8.6). What it says of unit and target is the same on every path; that of the port
 * is the port's own, wherever the portal that it stands for is at the moment.
 */
function encodeDesignators({ identity, targetPort }: VpdUnit): Uint8Array {
  const out = new ByteWriter(256);
  const add = (set: number, about: number, type: number, designator: Uint8Array): void => {
    const protocol = about === association.logicalUnit ? 0 : PROTOCOL_ISCSI;
    const protocolValid = about === association.logicalUnit ? 0 : 0x80;
    out.u8((protocol << 4) | set).u8(protocolValid | (about << 4) | type);
    out.u8(0).u8(designator.length).bytes(designator);
  };
  const unitName = Buffer.concat([asciiField(identity.vendor, 8), Buffer.from(identity.serial, 'latin1')]);
  const portName = `${identity.targetName},t,0x${targetPort.toString(16).padStart(4, '0')}`;
  const index = (value: number): Uint8Array => new ByteWriter(4).u16(0).u16(value).finish();
  add(codeSet.binary, association.logicalUnit, designatorType.naa, identity.naa);
  add(codeSet.ascii, association.logicalUnit, designatorType.t10Vendor, unitName);
  add(codeSet.utf8, association.targetPort, designatorType.scsiName, scsiName(portName));
  add(codeSet.binary, association.targetPort, designatorType.relativeTargetPort, index(targetPort));
  add(codeSet.binary, association.targetPort, designatorType.targetPortGroup, index(targetPort));
  add(codeSet.utf8, association.targetDevice, designatorType.scsiName, scsiName(identity.targetName));
  return out.finish();
}

/** A SCSI name string ends in at least one NUL and is a multiple of four bytes long (SPC-4 §7.8.6.11). */
function scsiName(text: string): Uint8Array {
  const encoded = Buffer.from(text, 'utf8');
  const padded = new Uint8Array((encoded.length + 4) & ~3);
  padded.set(encoded);
  return padded;
}
