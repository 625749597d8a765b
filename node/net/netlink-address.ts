import { endianness } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { type Ipv4, ipv4ToNumber } from '../../base/ipv4.ts';
import type { Libc } from './libc.ts';

/*
 * Addresses of interfaces by rtnetlink(7), as `ip address` changes them, without a process of its own for each: to start
 * one takes tens of milliseconds on a busy host, while a machine waits for its disk. Numbers are in host order.
 */

/** Linux, from <linux/netlink.h>, <linux/rtnetlink.h> and <linux/if_addr.h>. */
const AF_INET = 2;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const MSG_DONTWAIT = 0x40;
const HEADER_BYTES = 16;
const REQUEST_BYTES = HEADER_BYTES + 8 + 2 * 8;
const ANSWER_BYTES = 4096;
const HOST_ROUTE_BITS = 32;

/** What is asked of the kernel. */
export type AddressVerb = 'add' | 'del';

/** A host route's address on the interface with that index. Only where numbers are stored with their lowest byte first. */
export function addressRequest(verb: AddressVerb, address: Ipv4, interfaceIndex: number): Uint8Array {
  const request = Buffer.alloc(REQUEST_BYTES);
  request.writeUInt32LE(REQUEST_BYTES, 0);
  request.writeUInt16LE(verb === 'add' ? RTM_NEWADDR : RTM_DELADDR, 4);
  request.writeUInt16LE(NLM_F_REQUEST | NLM_F_ACK | (verb === 'add' ? NLM_F_CREATE | NLM_F_EXCL : 0), 6);
  request.writeUInt32LE(1, 8);
  request.writeUInt8(AF_INET, HEADER_BYTES);
  request.writeUInt8(HOST_ROUTE_BITS, HEADER_BYTES + 1);
  request.writeUInt32LE(interfaceIndex, HEADER_BYTES + 4);
  let at = HEADER_BYTES + 8;
  for (const attribute of [IFA_LOCAL, IFA_ADDRESS]) {
    request.writeUInt16LE(8, at);
    request.writeUInt16LE(attribute, at + 2);
    request.writeUInt32BE(ipv4ToNumber(address), at + 4);
    at += 8;
  }
  return request;
}

/** The name of the error that the kernel answered with, "" for none, undefined for what is no such answer. */
export function answeredError(answer: Uint8Array): string | undefined {
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.length);
  if (bytes.length < HEADER_BYTES + 4 || bytes.readUInt16LE(4) !== NLMSG_ERROR) return undefined;
  const error = bytes.readInt32LE(HEADER_BYTES);
  return error === 0 ? '' : getSystemErrorName(error);
}

export function canUseNetlink(): boolean {
  return process.platform === 'linux' && endianness() === 'LE';
}

/** @returns the name of the error, as "EPERM"; "" when it is done */
export function changeByNetlink(libc: Libc, verb: AddressVerb, address: Ipv4, interfaceName: string): string {
  const index = libc.interfaceIndex(interfaceName);
  if (index === 0) return getSystemErrorName(-libc.errno());
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return getSystemErrorName(-libc.errno());
  try {
    const request = addressRequest(verb, address, index);
    // struct sockaddr_nl: family, then zeros for the kernel.
    const kernel = Buffer.alloc(12);
    kernel.writeUInt16LE(AF_NETLINK, 0);
    if (libc.sendto(fd, request, request.length, 0, kernel, kernel.length) !== request.length)
      return getSystemErrorName(-libc.errno());
    // The kernel carries it out, and has answered, before it returns from the call above.
    const answer = Buffer.alloc(ANSWER_BYTES);
    const length = libc.recv(fd, answer, answer.length, MSG_DONTWAIT);
    if (length < 0) return getSystemErrorName(-libc.errno());
    return answeredError(answer.subarray(0, length)) ?? 'EPROTO';
  } finally {
    libc.close(fd);
  }
}
