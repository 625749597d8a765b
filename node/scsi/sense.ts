import { ByteWriter } from '../../base/byte-writer.ts';
import { bit, bits, bytes, layout, u8, u16, u32 } from '../../base/layout.ts';

const SPECIFIC_BYTES = 3;

/** Sense keys (SPC-4 §4.5.6). */
export const senseKey = {
  noSense: 0x0,
  notReady: 0x2,
  mediumError: 0x3,
  hardwareError: 0x4,
  illegalRequest: 0x5,
  unitAttention: 0x6,
  dataProtect: 0x7,
  copyAborted: 0xa,
  abortedCommand: 0xb,
  miscompare: 0xe,
} as const;

/** Why a command did not end well (SPC-4 §4.5). */
export interface Sense {
  readonly key: number;
  /** ADDITIONAL SENSE CODE and its qualifier. */
  readonly asc: number;
  readonly ascq: number;
  /** INFORMATION: the first logical block in error, or the offset of a miscompare. Fixed format has 32 bits of it. */
  readonly information?: number;
  /** Where the CDB or the parameter list is wrong (SPC-4 §4.5.2.4.2). */
  readonly field?: FieldPointer;
  /** How far an operation is, in parts of 65,536 (SPC-4 §4.5.2.4.4). */
  readonly progress?: number;
}

export interface FieldPointer {
  /** In the CDB rather than in the parameter list. */
  readonly inCdb: boolean;
  readonly byte: number;
  /** The highest bit of the field, where it is not a whole byte. */
  readonly bit?: number;
}

/** Every sense this target gives, named as in SPC-4 annex F. */
export const sense = {
  none: { key: senseKey.noSense, asc: 0, ascq: 0 },
  writeError: { key: senseKey.mediumError, asc: 0x0c, ascq: 0 },
  unrecoveredReadError: { key: senseKey.mediumError, asc: 0x11, ascq: 0 },
  /** Asymmetric access states other than the active ones. */
  becomingReady: { key: senseKey.notReady, asc: 0x04, ascq: 0x01 },
  stateTransition: { key: senseKey.notReady, asc: 0x04, ascq: 0x0a },
  portInStandby: { key: senseKey.notReady, asc: 0x04, ascq: 0x0b },
  portUnavailable: { key: senseKey.notReady, asc: 0x04, ascq: 0x0c },
  sanitizeInProgress: { key: senseKey.notReady, asc: 0x04, ascq: 0x1b },
  sanitizeFailed: { key: senseKey.mediumError, asc: 0x31, ascq: 0x03 },
  internalTargetFailure: { key: senseKey.hardwareError, asc: 0x44, ascq: 0 },
  invalidOpcode: { key: senseKey.illegalRequest, asc: 0x20, ascq: 0 },
  lbaOutOfRange: { key: senseKey.illegalRequest, asc: 0x21, ascq: 0 },
  invalidFieldInCdb: { key: senseKey.illegalRequest, asc: 0x24, ascq: 0 },
  unitNotSupported: { key: senseKey.illegalRequest, asc: 0x25, ascq: 0 },
  savingParametersNotSupported: { key: senseKey.illegalRequest, asc: 0x39, ascq: 0 },
  parameterListLengthError: { key: senseKey.illegalRequest, asc: 0x1a, ascq: 0 },
  invalidFieldInParameterList: { key: senseKey.illegalRequest, asc: 0x26, ascq: 0 },
  invalidRelease: { key: senseKey.illegalRequest, asc: 0x26, ascq: 0x04 },
  tooManyTargetDescriptors: { key: senseKey.illegalRequest, asc: 0x26, ascq: 0x06 },
  unsupportedTargetDescriptor: { key: senseKey.illegalRequest, asc: 0x26, ascq: 0x07 },
  tooManySegmentDescriptors: { key: senseKey.illegalRequest, asc: 0x26, ascq: 0x08 },
  unsupportedSegmentDescriptor: { key: senseKey.illegalRequest, asc: 0x26, ascq: 0x09 },
  inlineDataLengthExceeded: { key: senseKey.illegalRequest, asc: 0x26, ascq: 0x0b },
  insufficientRegistrationResources: { key: senseKey.illegalRequest, asc: 0x55, ascq: 0x04 },
  invalidMessage: { key: senseKey.illegalRequest, asc: 0x49, ascq: 0x00 },
  invalidInformationUnit: { key: senseKey.illegalRequest, asc: 0x0e, ascq: 0x03 },
  /** The cause left open, since some tools only take this one as a new session's greeting. */
  powerOn: { key: senseKey.unitAttention, asc: 0x29, ascq: 0x00 },
  busReset: { key: senseKey.unitAttention, asc: 0x29, ascq: 0x02 },
  deviceReset: { key: senseKey.unitAttention, asc: 0x29, ascq: 0x03 },
  nexusLost: { key: senseKey.unitAttention, asc: 0x29, ascq: 0x07 },
  commandsCleared: { key: senseKey.unitAttention, asc: 0x2f, ascq: 0 },
  clearedByProtocolEvent: { key: senseKey.unitAttention, asc: 0x47, ascq: 0x7f },
  modeParametersChanged: { key: senseKey.unitAttention, asc: 0x2a, ascq: 0x01 },
  reservationsPreempted: { key: senseKey.unitAttention, asc: 0x2a, ascq: 0x03 },
  reservationsReleased: { key: senseKey.unitAttention, asc: 0x2a, ascq: 0x04 },
  registrationsPreempted: { key: senseKey.unitAttention, asc: 0x2a, ascq: 0x05 },
  accessStateChanged: { key: senseKey.unitAttention, asc: 0x2a, ascq: 0x06 },
  capacityChanged: { key: senseKey.unitAttention, asc: 0x2a, ascq: 0x09 },
  thresholdReached: { key: senseKey.unitAttention, asc: 0x38, ascq: 0x07 },
  softwareWriteProtected: { key: senseKey.dataProtect, asc: 0x27, ascq: 0x02 },
  thirdPartyDeviceFailure: { key: senseKey.copyAborted, asc: 0x0d, ascq: 0x01 },
  copyTargetNotReachable: { key: senseKey.copyAborted, asc: 0x0d, ascq: 0x02 },
  copySegmentFailed: { key: senseKey.copyAborted, asc: 0, ascq: 0 },
  writeProtected: { key: senseKey.dataProtect, asc: 0x27, ascq: 0 },
  spaceAllocationFailed: { key: senseKey.dataProtect, asc: 0x27, ascq: 0x07 },
  unexpectedUnsolicitedData: { key: senseKey.abortedCommand, asc: 0x0c, ascq: 0x0c },
  incorrectAmountOfData: { key: senseKey.abortedCommand, asc: 0x0c, ascq: 0x0d },
  protocolServiceCrcError: { key: senseKey.abortedCommand, asc: 0x47, ascq: 0x05 },
  miscompare: { key: senseKey.miscompare, asc: 0x1d, ascq: 0 },
} as const satisfies Record<string, Sense>;

/** INVALID FIELD IN CDB that says which. */
export function invalidCdbField(byte: number, bit?: number): Sense {
  return { ...sense.invalidFieldInCdb, field: { inCdb: true, byte, ...(bit === undefined ? {} : { bit }) } };
}

/** INVALID FIELD IN PARAMETER LIST that says which. */
export function invalidListField(byte: number, bit?: number): Sense {
  const field = { inCdb: false, byte, ...(bit === undefined ? {} : { bit }) };
  return { ...sense.invalidFieldInParameterList, field };
}

/** Fixed format sense data (SPC-4 §4.5.3). */
export const fixedSense = layout('fixed format sense data', 18, {
  informationValid: bit(0, 7),
  responseCode: bits(0, 0, 7),
  senseKey: bits(2, 0, 4),
  information: u32(3),
  additionalLength: u8(7),
  asc: u8(12),
  ascq: u8(13),
  specific: bytes(15, SPECIFIC_BYTES),
});

/** Descriptor format sense data, without its descriptors (SPC-4 §4.5.2). */
export const descriptorSense = layout('descriptor format sense data', 8, {
  responseCode: bits(0, 0, 7),
  senseKey: bits(1, 0, 4),
  asc: u8(2),
  ascq: u8(3),
  additionalLength: u8(7),
});

/** Sense key specific information (SPC-4 §4.5.2.4). */
const fieldPointerBytes = layout('field pointer', SPECIFIC_BYTES, {
  valid: bit(0, 7),
  inCdb: bit(0, 6),
  bitValid: bit(0, 3),
  bit: bits(0, 0, 3),
  byte: u16(1),
});
const progressBytes = layout('progress indication', SPECIFIC_BYTES, { valid: bit(0, 7), progress: u16(1) });

function encodeSpecific({ field, progress }: Sense): Uint8Array | undefined {
  if (field !== undefined) {
    const { inCdb, byte, bit: position } = field;
    const bitValid = position !== undefined;
    return fieldPointerBytes.encode({ valid: true, inCdb, byte, bitValid, bit: position ?? 0 });
  }
  if (progress !== undefined) return progressBytes.encode({ valid: true, progress });
  return undefined;
}

/** Current error, fixed format: what CHECK CONDITION carries while D_SENSE is 0. */
export function encodeSense(value: Sense): Uint8Array {
  const { information } = value;
  const informationValid = information !== undefined && information <= 0xffff_ffff;
  const specific = encodeSpecific(value);
  return fixedSense.encode({
    informationValid,
    responseCode: 0x70,
    senseKey: value.key,
    information: informationValid ? information : 0,
    additionalLength: 10,
    asc: value.asc,
    ascq: value.ascq,
    ...(specific === undefined ? {} : { specific }),
  });
}

const descriptorType = { information: 0, senseKeySpecific: 2 } as const;

/** Current error, descriptor format: while D_SENSE is 1, and for REQUEST SENSE that asks for it. */
export function encodeDescriptorSense(value: Sense): Uint8Array {
  const descriptors = new ByteWriter(24);
  if (value.information !== undefined) {
    descriptors.u8(descriptorType.information).u8(10).u8(0x80).u8(0).u64(BigInt(value.information));
  }
  const specific = encodeSpecific(value);
  if (specific !== undefined) {
    descriptors.u8(descriptorType.senseKeySpecific).u8(6).u16(0).bytes(specific).u8(0);
  }
  const tail = descriptors.finish();
  const head = descriptorSense.encode({
    responseCode: 0x72,
    senseKey: value.key,
    asc: value.asc,
    ascq: value.ascq,
    additionalLength: tail.length,
  });
  return tail.length === 0 ? head : Buffer.concat([head, tail]);
}
