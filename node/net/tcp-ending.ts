import { loadLibc, SOL_SOCKET } from './libc.ts';

/*
 * Ends of TCP connections that close(2) does not offer, by Linux's own calls: a reset although another process holds the
 * socket too, and an end of which nothing is sent.
 */

/** Linux, from <sys/socket.h>, <netinet/tcp.h> and <linux/sockios.h>. */
const AF_UNSPEC = 0;
const SO_LINGER = 13;
const IPPROTO_TCP = 6;
const TCP_REPAIR = 19;
const TCP_REPAIR_QUEUE = 20;
const TCP_QUEUE_SEQ = 21;
const TCP_SEND_QUEUE = 2;
/** Bytes not yet acknowledged, and bytes not yet sent. */
const SIOCOUTQ = 0x5411;
const SIOCOUTQNSD = 0x894b;

/**
 * Resets the connection at once (RFC 9293 §3.10.5), whoever else holds the socket. The socket remains, for its holders to
 * close. Where the system refuses, it is left to the last of them.
 */
export function abortConnection(fd: number): void {
  const libc = loadLibc();
  const nobody = Buffer.alloc(16);
  nobody.writeUInt16LE(AF_UNSPEC, 0);
  libc.connect(fd, nobody, nobody.length);
}

/** Closes a descriptor. Where it is the last of its connection that is reset, if this host still has the address. */
export function closeWithReset(fd: number): void {
  const libc = loadLibc();
  // struct linger: on, and no time.
  const linger = Buffer.from(Int32Array.of(1, 0).buffer);
  libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, linger, linger.length);
  libc.close(fd);
}

/**
 * Ends the connection of a socket that nobody else holds, and sends nothing. To be called once this host has lost the
 * address: only then is nothing sent where the system refuses its part (CAP_NET_ADMIN).
 * @returns the sequence numbers of which one is what the peer expects next, as a reset needs to (RFC 9293 §3.10.7.4),
 * unless part of what was sent has reached it; undefined when they are not to be had
 */
export function closeSilently(fd: number): readonly number[] | undefined {
  const sequences = detach(fd);
  closeWithReset(fd);
  return sequences;
}

/** From here on the kernel sends nothing for this socket. */
function detach(fd: number): readonly number[] | undefined {
  const libc = loadLibc();
  const set = (name: number, value: number): boolean => {
    const bytes = Buffer.from(Int32Array.of(value).buffer);
    return libc.setsockopt(fd, IPPROTO_TCP, name, bytes, bytes.length) === 0;
  };
  if (!set(TCP_REPAIR, 1) || !set(TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)) return undefined;
  const value = Buffer.alloc(4);
  const length = Buffer.from(Int32Array.of(value.length).buffer);
  if (libc.getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, value, length) !== 0) return undefined;
  const end = value.readUInt32LE();
  const waiting = (request: number): number | undefined => {
    const count = Buffer.alloc(4);
    return libc.ioctl(fd, request, count) === 0 ? count.readInt32LE() : undefined;
  };
  const unacknowledged = waiting(SIOCOUTQ);
  const unsent = waiting(SIOCOUTQNSD);
  if (unacknowledged === undefined || unsent === undefined) return undefined;
  return [...new Set([(end - unsent) >>> 0, (end - unacknowledged) >>> 0])];
}
