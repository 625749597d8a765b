import { bit, bits, layout, u8, u16, u32 } from '../../base/layout.ts';

/** Bytes of the CDB field every iSCSI SCSI Command PDU has; shorter CDBs are padded. */
export const CDB_BYTES = 16;

/** Operation codes of the commands this target knows (SPC-4, SBC-3). */
export const opcode = {
  testUnitReady: 0x00,
  requestSense: 0x03,
  read6: 0x08,
  write6: 0x0a,
  inquiry: 0x12,
  modeSelect6: 0x15,
  reserve6: 0x16,
  release6: 0x17,
  modeSense6: 0x1a,
  startStopUnit: 0x1b,
  receiveDiagnosticResults: 0x1c,
  sendDiagnostic: 0x1d,
  preventAllowMediumRemoval: 0x1e,
  readCapacity10: 0x25,
  read10: 0x28,
  write10: 0x2a,
  writeAndVerify10: 0x2e,
  verify10: 0x2f,
  prefetch10: 0x34,
  synchronizeCache10: 0x35,
  readDefectData10: 0x37,
  writeSame10: 0x41,
  unmap: 0x42,
  sanitize: 0x48,
  modeSelect10: 0x55,
  modeSense10: 0x5a,
  persistentReserveIn: 0x5e,
  persistentReserveOut: 0x5f,
  extendedCopy: 0x83,
  receiveCopyResults: 0x84,
  read16: 0x88,
  compareAndWrite: 0x89,
  write16: 0x8a,
  orwrite16: 0x8b,
  writeAndVerify16: 0x8e,
  verify16: 0x8f,
  prefetch16: 0x90,
  synchronizeCache16: 0x91,
  writeSame16: 0x93,
  writeAtomic16: 0x9c,
  serviceActionIn16: 0x9e,
  reportLuns: 0xa0,
  maintenanceIn: 0xa3,
  read12: 0xa8,
  write12: 0xaa,
  writeAndVerify12: 0xae,
  verify12: 0xaf,
  readDefectData12: 0xb7,
} as const;

export const serviceAction = {
  readKeys: 0x00,
  readReservation: 0x01,
  reportCapabilities: 0x02,
  readFullStatus: 0x03,

  register: 0x00,
  reserve: 0x01,
  release: 0x02,
  clear: 0x03,
  preempt: 0x04,
  preemptAndAbort: 0x05,
  registerAndIgnoreExistingKey: 0x06,
  registerAndMove: 0x07,

  reportTargetPortGroups: 0x0a,
  reportSupportedOpcodes: 0x0c,
  reportSupportedTaskManagement: 0x0d,

  readCapacity16: 0x10,
  getLbaStatus: 0x12,

  extendedCopyLid1: 0x00,
  copyStatusLid1: 0x00,
  copyOperatingParameters: 0x03,

  sanitizeOverwrite: 0x01,
  sanitizeBlockErase: 0x02,
  sanitizeCryptoErase: 0x03,
  sanitizeExitFailureMode: 0x1f,
} as const;

/** READ(6), WRITE(6) (SBC-3 §5.10): 21 bits of address; length 0 means 256 blocks. */
export const rw6Cdb = layout('READ/WRITE(6)', 6, { lbaHigh: bits(1, 0, 5), lbaLow: u16(2), length: u8(4) });

/** READ, WRITE, VERIFY (10) (SBC-3 §5.11). `protect` is RDPROTECT, WRPROTECT or VRPROTECT. */
export const rw10Cdb = layout('READ/WRITE(10)', 10, {
  protect: bits(1, 5, 3),
  fua: bit(1, 3),
  byteCheck: bits(1, 1, 2),
  lba: u32(2),
  length: u16(7),
});

/** READ, WRITE, VERIFY (12) (SBC-3 §5.12). */
export const rw12Cdb = layout('READ/WRITE(12)', 12, {
  protect: bits(1, 5, 3),
  fua: bit(1, 3),
  byteCheck: bits(1, 1, 2),
  lba: u32(2),
  length: u32(6),
});

/** READ, WRITE, VERIFY (16) (SBC-3 §5.13); two halves of the address, since BigInt is slow. */
export const rw16Cdb = layout('READ/WRITE(16)', 16, {
  protect: bits(1, 5, 3),
  fua: bit(1, 3),
  byteCheck: bits(1, 1, 2),
  lbaHigh: u32(2),
  lbaLow: u32(6),
  length: u32(10),
});

/** SYNCHRONIZE CACHE (10) and (16) (SBC-3 §5.22, §5.23). */
export const synchronizeCache10Cdb = layout('SYNCHRONIZE CACHE(10)', 10, { lba: u32(2), length: u16(7) });
export const synchronizeCache16Cdb = layout('SYNCHRONIZE CACHE(16)', 16, {
  lbaHigh: u32(2),
  lbaLow: u32(6),
  length: u32(10),
});

/** PRE-FETCH (10) and (16) (SBC-3 §5.9). */
export const prefetch10Cdb = layout('PRE-FETCH(10)', 10, {
  immediate: bit(1, 1),
  lba: u32(2),
  length: u16(7),
});
export const prefetch16Cdb = layout('PRE-FETCH(16)', 16, {
  immediate: bit(1, 1),
  lbaHigh: u32(2),
  lbaLow: u32(6),
  length: u32(10),
});

/** WRITE SAME (10) and (16) (SBC-3 §5.42, §5.43). */
export const writeSame10Cdb = layout('WRITE SAME(10)', 10, {
  protect: bits(1, 5, 3),
  unmap: bit(1, 3),
  lba: u32(2),
  length: u16(7),
});
export const writeSame16Cdb = layout('WRITE SAME(16)', 16, {
  protect: bits(1, 5, 3),
  unmap: bit(1, 3),
  noDataOut: bit(1, 0),
  lbaHigh: u32(2),
  lbaLow: u32(6),
  length: u32(10),
});

/** COMPARE AND WRITE (SBC-3 §5.2). */
export const compareAndWriteCdb = layout('COMPARE AND WRITE', 16, {
  protect: bits(1, 5, 3),
  fua: bit(1, 3),
  lbaHigh: u32(2),
  lbaLow: u32(6),
  length: u8(13),
});

/** WRITE ATOMIC (16) (SBC-4 §5.48). */
export const writeAtomic16Cdb = layout('WRITE ATOMIC(16)', 16, {
  protect: bits(1, 5, 3),
  fua: bit(1, 3),
  lbaHigh: u32(2),
  lbaLow: u32(6),
  boundary: u16(10),
  length: u16(12),
});

/** GET LBA STATUS (SBC-3 §5.3). */
export const getLbaStatusCdb = layout('GET LBA STATUS', 16, {
  lbaHigh: u32(2),
  lbaLow: u32(6),
  allocationLength: u32(10),
});

/** UNMAP (SBC-3 §5.28). */
export const unmapCdb = layout('UNMAP', 10, { parameterListLength: u16(7) });

/** SANITIZE (SBC-3 §5.20). */
export const sanitizeCdb = layout('SANITIZE', 10, {
  immediate: bit(1, 7),
  allowUnrestrictedExit: bit(1, 5),
  serviceAction: bits(1, 0, 5),
  parameterListLength: u16(7),
});

/** MODE SELECT (6) and (10) (SPC-4 §6.9, §6.10). */
export const modeSelect6Cdb = layout('MODE SELECT(6)', 6, {
  pageFormat: bit(1, 4),
  parameterListLength: u8(4),
});
export const modeSelect10Cdb = layout('MODE SELECT(10)', 10, {
  pageFormat: bit(1, 4),
  parameterListLength: u16(7),
});

/** READ DEFECT DATA (10) and (12) (SBC-3 §5.17, §5.18). */
export const readDefectData10Cdb = layout('READ DEFECT DATA(10)', 10, {
  lists: bits(2, 0, 5),
  allocationLength: u16(7),
});
export const readDefectData12Cdb = layout('READ DEFECT DATA(12)', 12, {
  lists: bits(1, 0, 5),
  allocationLength: u32(6),
});

/** RECEIVE DIAGNOSTIC RESULTS and SEND DIAGNOSTIC (SPC-4 §6.28, §6.42). */
export const receiveDiagnosticCdb = layout('RECEIVE DIAGNOSTIC RESULTS', 6, {
  pageCodeValid: bit(1, 0),
  pageCode: u8(2),
  allocationLength: u16(3),
});
export const sendDiagnosticCdb = layout('SEND DIAGNOSTIC', 6, {
  selfTestCode: bits(1, 5, 3),
  parameterListLength: u16(3),
});

/** EXTENDED COPY and RECEIVE COPY RESULTS (SPC-4 §6.5, §6.23). */
export const extendedCopyCdb = layout('EXTENDED COPY', 16, { parameterListLength: u32(10) });
export const receiveCopyResultsCdb = layout('RECEIVE COPY RESULTS', 16, {
  serviceAction: bits(1, 0, 5),
  listIdentifier: u8(2),
  allocationLength: u32(10),
});

/** INQUIRY (SPC-4 §6.6). */
export const inquiryCdb = layout('INQUIRY', 6, {
  evpd: bit(1, 0),
  pageCode: u8(2),
  allocationLength: u16(3),
});

/** REQUEST SENSE (SPC-4 §6.39). */
export const requestSenseCdb = layout('REQUEST SENSE', 6, { descriptor: bit(1, 0), allocationLength: u8(4) });

/** MODE SENSE (6) and (10) (SPC-4 §6.13, §6.14). */
export const modeSense6Cdb = layout('MODE SENSE(6)', 6, {
  disableBlockDescriptors: bit(1, 3),
  pageControl: bits(2, 6, 2),
  pageCode: bits(2, 0, 6),
  subpageCode: u8(3),
  allocationLength: u8(4),
});
export const modeSense10Cdb = layout('MODE SENSE(10)', 10, {
  longLba: bit(1, 4),
  disableBlockDescriptors: bit(1, 3),
  pageControl: bits(2, 6, 2),
  pageCode: bits(2, 0, 6),
  subpageCode: u8(3),
  allocationLength: u16(7),
});

/** READ CAPACITY (10) (SBC-3 §5.15). */
export const readCapacity10Cdb = layout('READ CAPACITY(10)', 10, { lba: u32(2), partialMedium: bit(8, 0) });

/** SERVICE ACTION IN (16) with READ CAPACITY (16) (SBC-3 §5.16). */
export const readCapacity16Cdb = layout('READ CAPACITY(16)', 16, {
  serviceAction: bits(1, 0, 5),
  allocationLength: u32(10),
});

/** REPORT LUNS (SPC-4 §6.33). */
export const reportLunsCdb = layout('REPORT LUNS', 12, { selectReport: u8(2), allocationLength: u32(6) });

/** START STOP UNIT (SBC-3 §5.21). */
export const startStopUnitCdb = layout('START STOP UNIT', 6, {
  powerCondition: bits(4, 4, 4),
  loadEject: bit(4, 1),
  start: bit(4, 0),
});

/** PREVENT ALLOW MEDIUM REMOVAL (SBC-3 §5.8). */
export const preventAllowCdb = layout('PREVENT ALLOW MEDIUM REMOVAL', 6, { prevent: bits(4, 0, 2) });

/** PERSISTENT RESERVE IN (SPC-4 §6.15). */
export const persistentReserveInCdb = layout('PERSISTENT RESERVE IN', 10, {
  serviceAction: bits(1, 0, 5),
  allocationLength: u16(7),
});

/** PERSISTENT RESERVE OUT (SPC-4 §6.16). */
export const persistentReserveOutCdb = layout('PERSISTENT RESERVE OUT', 10, {
  serviceAction: bits(1, 0, 5),
  scope: bits(2, 4, 4),
  type: bits(2, 0, 4),
  parameterListLength: u32(5),
});

/** MAINTENANCE IN with REPORT TARGET PORT GROUPS (SPC-4 §6.37). */
export const reportTargetPortGroupsCdb = layout('REPORT TARGET PORT GROUPS', 12, {
  format: bits(1, 5, 3),
  allocationLength: u32(6),
});

/** MAINTENANCE IN with REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 §6.35). */
export const reportSupportedTaskManagementCdb = layout('REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', 12, {
  extended: bit(2, 7),
  allocationLength: u32(6),
});

/** MAINTENANCE IN with REPORT SUPPORTED OPERATION CODES (SPC-4 §6.34). */
export const reportSupportedOpcodesCdb = layout('REPORT SUPPORTED OPERATION CODES', 12, {
  serviceAction: bits(1, 0, 5),
  timeouts: bit(2, 7),
  reportingOptions: bits(2, 0, 3),
  requestedOpcode: u8(3),
  requestedServiceAction: u16(4),
  allocationLength: u32(6),
});

/** The logical block address of a 16-byte CDB; beyond 2^53 it is no longer exact, and out of any range. */
export function wideLba(high: number, low: number): number {
  return high * 0x1_0000_0000 + low;
}
