import { ByteWriter } from '../../base/byte-writer.ts';
import { layout, u8, u16, u32 } from '../../base/layout.ts';
import { asciiField, type LogicalUnitIdentity } from './identity.ts';
import { MAX_TRANSFER_BLOCKS, OPTIMAL_TRANSFER_BLOCKS } from './limits.ts';

/** Vital product data (SPC-4 §7.8, SBC-3 §6.6). */
export const vpdPage = {
  supportedPages: 0x00,
  unitSerialNumber: 0x80,
  deviceIdentification: 0x83,
  blockLimits: 0xb0,
  blockDeviceCharacteristics: 0xb1,
  logicalBlockProvisioning: 0xb2,
} as const;

/** Every target has this one portal group, on every node, since some initiators assume it. */
export const TARGET_PORTAL_GROUP_TAG = 1;
const RELATIVE_TARGET_PORT = 1;

/** Block Limits (SBC-3 §6.6.4), without the 4-byte page header. */
export const blockLimits = layout('Block Limits VPD page', 60, {
  optimalGranularityBlocks: u16(2),
  maximumTransferBlocks: u32(4),
  optimalTransferBlocks: u32(8),
});

/** Block Device Characteristics (SBC-3 §6.6.2), without the page header. */
export const blockCharacteristics = layout('Block Device Characteristics VPD page', 60, {
  rotationRate: u16(0),
});

/** Logical Block Provisioning (SBC-3 §6.6.6), without the page header; no UNMAP, so nothing is set. */
export const provisioning = layout('Logical Block Provisioning VPD page', 4, { provisioningType: u8(2) });

const NON_ROTATING = 1;

type PageBody = (identity: LogicalUnitIdentity) => Uint8Array;
const PAGES: ReadonlyMap<number, PageBody> = new Map<number, PageBody>([
  [vpdPage.supportedPages, () => Uint8Array.from(PAGES.keys())],
  [vpdPage.unitSerialNumber, (identity) => Buffer.from(identity.serial, 'latin1')],
  [vpdPage.deviceIdentification, encodeDesignators],
  [
    vpdPage.blockLimits,
    () =>
      blockLimits.encode({
        optimalGranularityBlocks: 8,
        maximumTransferBlocks: MAX_TRANSFER_BLOCKS,
        optimalTransferBlocks: OPTIMAL_TRANSFER_BLOCKS,
      }),
  ],
  [vpdPage.blockDeviceCharacteristics, () => blockCharacteristics.encode({ rotationRate: NON_ROTATING })],
  [vpdPage.logicalBlockProvisioning, () => provisioning.encode({})],
]);

/** A whole VPD page, or undefined when the unit has none of that code. */
export function encodeVpdPage(pageCode: number, identity: LogicalUnitIdentity): Uint8Array | undefined {
  const body = PAGES.get(pageCode)?.(identity);
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

/** Device Identification (SPC-4 §7.8.6). Nothing in it depends on the node that answers. */
function encodeDesignators(identity: LogicalUnitIdentity): Uint8Array {
  const out = new ByteWriter(256);
  const add = (set: number, about: number, type: number, designator: Uint8Array): void => {
    const protocol = about === association.logicalUnit ? 0 : PROTOCOL_ISCSI;
    const protocolValid = about === association.logicalUnit ? 0 : 0x80;
    out.u8((protocol << 4) | set).u8(protocolValid | (about << 4) | type);
    out.u8(0).u8(designator.length).bytes(designator);
  };
  const unitName = Buffer.concat([asciiField(identity.vendor, 8), Buffer.from(identity.serial, 'latin1')]);
  const portName = `${identity.targetName},t,0x${TARGET_PORTAL_GROUP_TAG.toString(16).padStart(4, '0')}`;
  const index = (value: number): Uint8Array => new ByteWriter(4).u16(0).u16(value).finish();
  add(codeSet.binary, association.logicalUnit, designatorType.naa, identity.naa);
  add(codeSet.ascii, association.logicalUnit, designatorType.t10Vendor, unitName);
  add(codeSet.utf8, association.targetPort, designatorType.scsiName, scsiName(portName));
  add(codeSet.binary, association.targetPort, designatorType.relativeTargetPort, index(RELATIVE_TARGET_PORT));
  add(codeSet.binary, association.targetPort, designatorType.targetPortGroup, index(TARGET_PORTAL_GROUP_TAG));
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
