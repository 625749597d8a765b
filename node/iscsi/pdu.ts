import { bit, bits, bytes, layout, u8, u16, u24, u32 } from '../../base/layout.ts';

/** The Basic Header Segments of RFC 7143 §11, 48 bytes each. */
export const HEADER_BYTES = 48;

/**
 *     0 |.|I| opcode  | 1 opcode-specific          | 2,3                   |
 *     4 TotalAHSLength | 5..7 DataSegmentLength (without padding)          |
 *     8..15 LUN or opcode-specific                 | 16..19 Initiator Task Tag |
 */
const common = {
  immediate: bit(0, 6),
  opcode: bits(0, 0, 6),
  /** In units of four bytes. */
  totalAhsLength: u8(4),
  dataSegmentLength: u24(5),
  initiatorTaskTag: u32(16),
} as const;

/** The first word of the LUN says everything for LUNs of one level; see decodeLun in scsi. */
const lun = { lunHigh: u32(8), lunLow: u32(12) } as const;
const final = { final: bit(1, 7) } as const;
const commandNumbers = { cmdSN: u32(24), expStatSN: u32(28) } as const;
const statusNumbers = { statSN: u32(24), expCmdSN: u32(28), maxCmdSN: u32(32) } as const;

/** §11.2.1 */
export const basicHeader = layout('basic header segment', HEADER_BYTES, common);

/** §11.3. The CDB lies at byte 32. */
export const scsiCommand = layout('SCSI Command', HEADER_BYTES, {
  ...common,
  ...final,
  read: bit(1, 6),
  write: bit(1, 5),
  attributes: bits(1, 0, 3),
  ...lun,
  expectedDataTransferLength: u32(20),
  ...commandNumbers,
});
export const CDB_OFFSET = 32;

/** §11.4 */
export const scsiResponse = layout('SCSI Response', HEADER_BYTES, {
  ...common,
  ...final,
  overflow: bit(1, 2),
  underflow: bit(1, 1),
  response: u8(2),
  status: u8(3),
  ...statusNumbers,
  expDataSN: u32(36),
  residualCount: u32(44),
});

/** §11.5 */
export const taskManagementRequest = layout('Task Management Function Request', HEADER_BYTES, {
  ...common,
  ...final,
  function: bits(1, 0, 7),
  ...lun,
  referencedTaskTag: u32(20),
  ...commandNumbers,
  refCmdSN: u32(32),
});

/** §11.6; the information is RFC 7144's (§6.4.1). */
export const taskManagementResponse = layout('Task Management Function Response', HEADER_BYTES, {
  ...common,
  ...final,
  response: u8(2),
  additionalInformation: bytes(8, 3),
  ...statusNumbers,
});

/** §11.7 */
export const dataOut = layout('SCSI Data-Out', HEADER_BYTES, {
  ...common,
  ...final,
  ...lun,
  targetTransferTag: u32(20),
  expStatSN: u32(28),
  dataSN: u32(36),
  bufferOffset: u32(40),
});

/** §11.7. Status, StatSN and the residual mean something only where `hasStatus` is set. */
export const dataIn = layout('SCSI Data-In', HEADER_BYTES, {
  ...common,
  ...final,
  overflow: bit(1, 2),
  underflow: bit(1, 1),
  hasStatus: bit(1, 0),
  status: u8(3),
  ...lun,
  targetTransferTag: u32(20),
  ...statusNumbers,
  dataSN: u32(36),
  bufferOffset: u32(40),
  residualCount: u32(44),
});

/** §11.8 */
export const readyToTransfer = layout('Ready To Transfer', HEADER_BYTES, {
  ...common,
  ...final,
  ...lun,
  targetTransferTag: u32(20),
  ...statusNumbers,
  r2tSN: u32(36),
  bufferOffset: u32(40),
  desiredDataTransferLength: u32(44),
});

/** §11.10 */
export const textRequest = layout('Text Request', HEADER_BYTES, {
  ...common,
  ...final,
  continues: bit(1, 6),
  ...lun,
  targetTransferTag: u32(20),
  ...commandNumbers,
});

/** §11.11 */
export const textResponse = layout('Text Response', HEADER_BYTES, {
  ...common,
  ...final,
  continues: bit(1, 6),
  ...lun,
  targetTransferTag: u32(20),
  ...statusNumbers,
});

/** §11.12 */
export const loginRequest = layout('Login Request', HEADER_BYTES, {
  ...common,
  transit: bit(1, 7),
  continues: bit(1, 6),
  currentStage: bits(1, 2, 2),
  nextStage: bits(1, 0, 2),
  versionMax: u8(2),
  versionMin: u8(3),
  isid: bytes(8, 6),
  tsih: u16(14),
  cid: u16(20),
  ...commandNumbers,
});

/** §11.13 */
export const loginResponse = layout('Login Response', HEADER_BYTES, {
  ...common,
  transit: bit(1, 7),
  continues: bit(1, 6),
  currentStage: bits(1, 2, 2),
  nextStage: bits(1, 0, 2),
  versionMax: u8(2),
  versionActive: u8(3),
  isid: bytes(8, 6),
  tsih: u16(14),
  ...statusNumbers,
  statusClass: u8(36),
  statusDetail: u8(37),
});

/** §11.14 */
export const logoutRequest = layout('Logout Request', HEADER_BYTES, {
  ...common,
  ...final,
  reason: bits(1, 0, 7),
  cid: u16(20),
  ...commandNumbers,
});

/** §11.15 */
export const logoutResponse = layout('Logout Response', HEADER_BYTES, {
  ...common,
  ...final,
  response: u8(2),
  ...statusNumbers,
  time2Wait: u16(40),
  time2Retain: u16(42),
});

/** §11.17. The data segment holds the header that was refused. */
export const reject = layout('Reject', HEADER_BYTES, {
  ...common,
  ...final,
  reason: u8(2),
  ...statusNumbers,
  dataSN: u32(36),
});

/** §11.18 */
export const nopOut = layout('NOP-Out', HEADER_BYTES, {
  ...common,
  ...final,
  ...lun,
  targetTransferTag: u32(20),
  ...commandNumbers,
});

/** §11.19 */
export const nopIn = layout('NOP-In', HEADER_BYTES, {
  ...common,
  ...final,
  ...lun,
  targetTransferTag: u32(20),
  ...statusNumbers,
});

/** §11.9 */
export const asyncMessage = layout('Asynchronous Message', HEADER_BYTES, {
  ...common,
  ...final,
  ...lun,
  ...statusNumbers,
  asyncEvent: u8(36),
  asyncVCode: u8(37),
  parameter1: u16(38),
  /** Of an announced drop: Time2Wait, in seconds. */
  parameter2: u16(40),
  /** Of an announced drop: Time2Retain, in seconds. */
  parameter3: u16(42),
});
