import type { Socket } from 'node:net';
import { endianness } from 'node:os';
import { type Libc, loadLibc, SOL_SOCKET, systemCallError } from './libc.ts';

/*
 * Open sockets given to another process over a unix socket (SCM_RIGHTS, unix(7)). Both then hold the same connection,
 * which stays until the last of them has closed it. The structures are those of 64-bit Linux, lowest byte first.
 */

/** Linux, from <sys/socket.h>. */
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** Linux, from <fcntl.h>. */
const F_DUPFD_CLOEXEC = 1030;

/** struct msghdr, struct iovec, then a struct cmsghdr with one descriptor, then the label. */
const IOVEC_AT = 56;
const CONTROL_AT = 72;
const CONTROL_HEADER_BYTES = 16;
const CONTROL_BYTES = CONTROL_HEADER_BYTES + 8;
const LABEL_AT = CONTROL_AT + CONTROL_BYTES;
const LABEL_BYTES = 4;
const MESSAGE_BYTES = LABEL_AT + LABEL_BYTES;

export interface PassedSocket {
  readonly label: number;
  /** For the receiver to close; undefined: it had no room for one more, and only the label came. */
  readonly fd: number | undefined;
}

export function canPassSockets(): boolean {
  return process.platform === 'linux' && endianness() === 'LE' && ['x64', 'arm64'].includes(process.arch);
}

/**
 * Gives the process at the other end of a unix stream socket a duplicate of a socket of ours, with a label of 32 bits.
 * @returns false when the channel is full
 * @throws OperationError kind "unavailable" when the system refuses
 */
export function passSocket(channelFd: number, label: number, fd: number): boolean {
  const libc = loadLibc();
  const message = emptyMessage(libc);
  message.writeBigUInt64LE(BigInt(CONTROL_HEADER_BYTES + 4), CONTROL_AT);
  message.writeInt32LE(SOL_SOCKET, CONTROL_AT + 8);
  message.writeInt32LE(SCM_RIGHTS, CONTROL_AT + 12);
  message.writeInt32LE(fd, CONTROL_AT + CONTROL_HEADER_BYTES);
  message.writeUInt32LE(label, LABEL_AT);
  if (libc.sendmsg(channelFd, message, MSG_DONTWAIT | MSG_NOSIGNAL) === LABEL_BYTES) return true;
  const error = systemCallError(libc, 'sendmsg', 'a socket');
  if (error.code === 'eagain') return false;
  throw error;
}

/**
 * The next of the sockets passed, in the order in which they were.
 * @returns undefined when none has come
 */
export function receiveSocket(channelFd: number): PassedSocket | undefined {
  const libc = loadLibc();
  const message = emptyMessage(libc);
  const length = libc.recvmsg(channelFd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length !== LABEL_BYTES) return undefined;
  const hasSocket =
    message.readBigUInt64LE(40) >= CONTROL_HEADER_BYTES + 4 &&
    message.readInt32LE(CONTROL_AT + 8) === SOL_SOCKET &&
    message.readInt32LE(CONTROL_AT + 12) === SCM_RIGHTS;
  const fd = hasSocket ? message.readInt32LE(CONTROL_AT + CONTROL_HEADER_BYTES) : undefined;
  return { label: message.readUInt32LE(LABEL_AT), fd };
}

function emptyMessage(libc: Libc): Buffer {
  // On memory of its own, which nobody moves: the system is told addresses in it.
  const message = Buffer.from(new ArrayBuffer(MESSAGE_BYTES));
  const at = libc.addressOf(message);
  message.writeBigUInt64LE(at + BigInt(IOVEC_AT), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(at + BigInt(CONTROL_AT), 32);
  message.writeBigUInt64LE(BigInt(CONTROL_BYTES), 40);
  message.writeBigUInt64LE(at + BigInt(LABEL_AT), IOVEC_AT);
  message.writeBigUInt64LE(BigInt(LABEL_BYTES), IOVEC_AT + 8);
  return message;
}

/** @returns a descriptor of its own for the same socket, which whoever asked closes, or never; undefined: there is no room for one */
export function duplicateOf(fd: number): number | undefined {
  const duplicate = loadLibc().fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return duplicate < 0 ? undefined : duplicate;
}

/**
 * The number by which the system knows an open socket; not part of the runtime's documented interface.
 * @returns undefined once it has been closed, or where the runtime keeps it elsewhere
 */
export function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as unknown as { _handle?: { fd?: unknown } | null })._handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
