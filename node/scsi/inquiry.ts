import { bit, bits, bytes, layout, u8, u16 } from '../../base/layout.ts';
import { type TargetPaths, targetPorts } from './access-state.ts';
import { asciiField, type LogicalUnitIdentity } from './identity.ts';

/** Standard INQUIRY data (SPC-4 §6.6.2). */
export const standardInquiry = layout('standard INQUIRY data', 96, {
  peripheralQualifier: bits(0, 5, 3),
  peripheralDeviceType: bits(0, 0, 5),
  removable: bit(1, 7),
  version: u8(2),
  hierarchicalLuns: bit(3, 4),
  responseDataFormat: bits(3, 0, 4),
  additionalLength: u8(4),
  targetPortGroupSupport: bits(5, 4, 2),
  thirdPartyCopy: bit(5, 3),
  multiplePorts: bit(6, 4),
  commandQueuing: bit(7, 1),
  vendor: bytes(8, 8),
  product: bytes(16, 16),
  revision: bytes(32, 4),
  versionDescriptor1: u16(58),
  versionDescriptor2: u16(60),
  versionDescriptor3: u16(62),
  versionDescriptor4: u16(64),
});

const VERSION_SPC4 = 0x06;
const STANDARDS = { sam5: 0x00a0, spc4: 0x0460, sbc3: 0x04c0, iscsi: 0x0960 } as const;

/** TPGS 01b: access states change by themselves, and are not set by the initiator. */
const IMPLICIT_ASYMMETRIC_ACCESS = 1;

interface InquiredUnit {
  readonly identity: LogicalUnitIdentity;
  /** iSCSIProtocolLevel of the session (RFC 7144 §4.2). */
  readonly protocolLevel: number;
  readonly paths: TargetPaths;
}

/** A direct-access block device, connected. */
export function encodeInquiry({ identity, protocolLevel, paths }: InquiredUnit): Uint8Array {
  return standardInquiry.encode({
    version: VERSION_SPC4,
    hierarchicalLuns: true,
    responseDataFormat: 2,
    additionalLength: standardInquiry.sizeBytes - 5,
    targetPortGroupSupport: IMPLICIT_ASYMMETRIC_ACCESS,
    thirdPartyCopy: true,
    multiplePorts: targetPorts(paths).length > 1,
    commandQueuing: true,
    vendor: asciiField(identity.vendor, 8),
    product: asciiField(identity.product, 16),
    revision: asciiField(identity.revision, 4),
    versionDescriptor1: STANDARDS.sam5,
    versionDescriptor2: STANDARDS.spc4,
    versionDescriptor3: STANDARDS.sbc3,
    versionDescriptor4: STANDARDS.iscsi + protocolLevel,
  });
}

/** What a LUN that holds nothing answers: qualifier 011b, device type 1Fh (SPC-4 table 149). */
export function encodeMissingUnitInquiry(): Uint8Array {
  return standardInquiry.encode({
    peripheralQualifier: 3,
    peripheralDeviceType: 0x1f,
    version: VERSION_SPC4,
    responseDataFormat: 2,
    additionalLength: standardInquiry.sizeBytes - 5,
    vendor: asciiField('', 8),
    product: asciiField('', 16),
    revision: asciiField('', 4),
  });
}
