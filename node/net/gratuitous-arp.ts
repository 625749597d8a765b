import type { Ipv4 } from '../../base/ipv4.ts';
import { gratuitousArpFrames } from './arp-packet.ts';
import { interfaceMac } from './interface-address.ts';
import { loadLibc, systemCallError } from './libc.ts';
import { AF_PACKET, everyoneAt, SOCK_RAW } from './packet-address.ts';

/** Linux, from <sys/socket.h>. */
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
    const to = everyoneAt(index);
    for (const frame of gratuitousArpFrames(address, mac)) {
      if (libc.sendto(fd, frame, frame.length, 0, to, to.length) !== frame.length) {
        throw systemCallError(libc, 'sendto', subject);
      }
    }
  } finally {
    libc.close(fd);
  }
}
