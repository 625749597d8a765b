/** PDU opcodes (RFC 7143 §11.2.1.2). */
export const opcode = {
  nopOut: 0x00,
  scsiCommand: 0x01,
  taskManagementRequest: 0x02,
  loginRequest: 0x03,
  textRequest: 0x04,
  dataOut: 0x05,
  logoutRequest: 0x06,
  snackRequest: 0x10,
  nopIn: 0x20,
  scsiResponse: 0x21,
  taskManagementResponse: 0x22,
  loginResponse: 0x23,
  textResponse: 0x24,
  dataIn: 0x25,
  logoutResponse: 0x26,
  readyToTransfer: 0x31,
  asyncMessage: 0x32,
  reject: 0x3f,
} as const;

/** Reject reasons (RFC 7143 §11.17.1). */
export const rejectReason = {
  dataDigestError: 0x02,
  snackReject: 0x03,
  protocolError: 0x04,
  commandNotSupported: 0x05,
  immediateCommandReject: 0x06,
  taskInProgress: 0x07,
  invalidPduField: 0x09,
} as const;

/** A task tag that stands for none. */
export const RESERVED_TAG = 0xffff_ffff;

/** AsyncEvent of an Asynchronous Message (§11.9.1); those that are sent. */
export const asyncEvent = {
  dropsAllConnections: 3,
} as const;
