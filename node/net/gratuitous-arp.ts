import type { Ipv4 } from '../../base/ipv4.ts';
import { ETHERTYPE_ARP, gratuitousArpFrames } from './arp-packet.ts';
import { interfaceMac } from './interface-address.ts';
import { loadLibc, systemCallError } from './libc.ts';

/** Linux, from <sys/socket.h>. */
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;

/**
 * Tells the network that `address` is now at this machine's interface, by one gratuitous ARP request and one
 * reply. Frames get lost and switches learn late, so the caller repeats it.
 * @throws OperationError kind "unavailable" when the system refuses (privilege, no such interface)
 */
export function announceAddress(address: Ipv4, interfaceName: string): void {
  const libc = loadLibc();
  const subject = `${address} on ${interfaceName}`;
  const mac = interfaceMac(interfaceName);
  const index = libc.interfaceIndex(interfaceName);
  if (index === 0) throw systemCallError(libc, 'if_nametoindex', subject);
  // Protocol 0: this socket only sends, so nothing is queued for it to read.
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemCallError(libc, 'socket', subject);
  try {
    const to = linkAddress(index);
    for (const frame of gratuitousArpFrames(address, mac)) {
      if (libc.sendto(fd, frame, frame.length, 0, to, to.length) !== frame.length) {
        throw systemCallError(libc, 'sendto', subject);
      }
    }
  } finally {
    libc.close(fd);
  }
}

/** struct sockaddr_ll: family and index in host order, protocol in network order, 6 bytes of broadcast. */
function linkAddress(interfaceIndex: number): Uint8Array {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETHERTYPE_ARP, 2);
  address.writeInt32LE(interfaceIndex, 4);
  address.writeUInt8(6, 11);
  address.fill(0xff, 12, 18);
  return address;
}
