import { bit, bits, layout, u8, u32 } from '../../base/layout.ts';

/** Sense keys (SPC-4 §4.5.6). */
export const senseKey = {
  noSense: 0x0,
  mediumError: 0x3,
  hardwareError: 0x4,
  illegalRequest: 0x5,
  unitAttention: 0x6,
  dataProtect: 0x7,
  abortedCommand: 0xb,
  miscompare: 0xe,
} as const;

/** Why a command did not end well (SPC-4 §4.5). */
export interface Sense {
  readonly key: number;
  /** ADDITIONAL SENSE CODE and its qualifier. */
  readonly asc: number;
  readonly ascq: number;
  /** INFORMATION: the first logical block in error, or the offset of a miscompare. Left out above 2^32 - 1. */
  readonly information?: number;
}

/** Every sense this target gives, named as in SPC-4 annex F. */
export const sense = {
  none: { key: senseKey.noSense, asc: 0, ascq: 0 },
  writeError: { key: senseKey.mediumError, asc: 0x0c, ascq: 0 },
  unrecoveredReadError: { key: senseKey.mediumError, asc: 0x11, ascq: 0 },
  internalTargetFailure: { key: senseKey.hardwareError, asc: 0x44, ascq: 0 },
  invalidOpcode: { key: senseKey.illegalRequest, asc: 0x20, ascq: 0 },
  lbaOutOfRange: { key: senseKey.illegalRequest, asc: 0x21, ascq: 0 },
  invalidFieldInCdb: { key: senseKey.illegalRequest, asc: 0x24, ascq: 0 },
  unitNotSupported: { key: senseKey.illegalRequest, asc: 0x25, ascq: 0 },
  savingParametersNotSupported: { key: senseKey.illegalRequest, asc: 0x39, ascq: 0 },
  invalidInformationUnit: { key: senseKey.illegalRequest, asc: 0x0e, ascq: 0x03 },
  /** The cause left open, since some tools only take this one as a new session's greeting. */
  powerOn: { key: senseKey.unitAttention, asc: 0x29, ascq: 0x00 },
  busReset: { key: senseKey.unitAttention, asc: 0x29, ascq: 0x02 },
  deviceReset: { key: senseKey.unitAttention, asc: 0x29, ascq: 0x03 },
  commandsCleared: { key: senseKey.unitAttention, asc: 0x2f, ascq: 0 },
  writeProtected: { key: senseKey.dataProtect, asc: 0x27, ascq: 0 },
  spaceAllocationFailed: { key: senseKey.dataProtect, asc: 0x27, ascq: 0x07 },
  unexpectedUnsolicitedData: { key: senseKey.abortedCommand, asc: 0x0c, ascq: 0x0c },
  incorrectAmountOfData: { key: senseKey.abortedCommand, asc: 0x0c, ascq: 0x0d },
  protocolServiceCrcError: { key: senseKey.abortedCommand, asc: 0x47, ascq: 0x05 },
  miscompare: { key: senseKey.miscompare, asc: 0x1d, ascq: 0 },
} as const satisfies Record<string, Sense>;

/** Fixed format sense data (SPC-4 §4.5.3). */
export const fixedSense = layout('fixed format sense data', 18, {
  informationValid: bit(0, 7),
  responseCode: bits(0, 0, 7),
  senseKey: bits(2, 0, 4),
  information: u32(3),
  additionalLength: u8(7),
  asc: u8(12),
  ascq: u8(13),
});

/** Descriptor format sense data without descriptors (SPC-4 §4.5.2). */
export const descriptorSense = layout('descriptor format sense data', 8, {
  responseCode: bits(0, 0, 7),
  senseKey: bits(1, 0, 4),
  asc: u8(2),
  ascq: u8(3),
  additionalLength: u8(7),
});

/** Current error, fixed format: what CHECK CONDITION carries, since D_SENSE is 0 in our control mode page. */
export function encodeSense(value: Sense): Uint8Array {
  const { information } = value;
  const informationValid = information !== undefined && information <= 0xffff_ffff;
  return fixedSense.encode({
    informationValid,
    responseCode: 0x70,
    senseKey: value.key,
    information: informationValid ? information : 0,
    additionalLength: 10,
    asc: value.asc,
    ascq: value.ascq,
  });
}

/** Current error, descriptor format: for REQUEST SENSE that asks for it. */
export function encodeDescriptorSense(value: Sense): Uint8Array {
  return descriptorSense.encode({
    responseCode: 0x72,
    senseKey: value.key,
    asc: value.asc,
    ascq: value.ascq,
  });
}
