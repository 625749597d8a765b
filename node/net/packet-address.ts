import { ETHERTYPE_ARP } from './arp-packet.ts';

/** Linux, from <sys/socket.h>. */
export const AF_PACKET = 17;
export const SOCK_RAW = 3;

/** ARP to everyone at an interface. struct sockaddr_ll: family and index in host order, protocol in network order, 6 bytes of broadcast. */
export function everyoneAt(interfaceIndex: number): Uint8Array {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETHERTYPE_ARP, 2);
  address.writeInt32LE(interfaceIndex, 4);
  address.writeUInt8(6, 11);
  address.fill(0xff, 12, 18);
  return address;
}
