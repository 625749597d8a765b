import { createSocket, type Socket } from 'node:dgram';
import { type Libc, loadLibc, SOL_SOCKET, systemCallError } from './libc.ts';

/** Linux, from <sys/socket.h> and <asm-generic/socket.h>. */
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;

/**
 * A UDP socket on one port of one network interface: it receives what arrives there, broadcasts from clients
 * without an address included, and sends there, broadcasts included. Node itself can only bind to addresses,
 * and a socket bound to an address sees no broadcasts.
 *
 * SO_REUSEADDR is left off on purpose: sockets of different interfaces do not collide, and a second server
 * on the same one shall fail here rather than take half of the messages.
 *
 * @throws OperationError kind "unavailable" when the system refuses (privilege, no such interface, port taken)
 */
export async function openInterfaceUdp(interfaceName: string, port: number): Promise<Socket> {
  const libc = loadLibc();
  const subject = `UDP port ${port} on ${interfaceName}`;
  const fd = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemCallError(libc, 'socket', subject);
  try {
    setOption(libc, fd, SO_BROADCAST, Uint8Array.from(new Uint8Array(Int32Array.of(1).buffer)), subject);
    setOption(libc, fd, SO_BINDTODEVICE, Buffer.from(`${interfaceName}\0`, 'latin1'), subject);
    const address = inetAddress(port);
    if (libc.bind(fd, address, address.length) !== 0) throw systemCallError(libc, 'bind', subject);
    return await adopt(fd);
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function setOption(libc: Libc, fd: number, name: number, value: Uint8Array, subject: string): void {
  if (libc.setsockopt(fd, SOL_SOCKET, name, value, value.length) !== 0) {
    throw systemCallError(libc, 'setsockopt', subject);
  }
}

/** struct sockaddr_in for 0.0.0.0: the family in host order (all platforms of ours are little-endian). */
function inetAddress(port: number): Uint8Array {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  return address;
}

/** Hands the descriptor to Node, which closes it with the socket from then on. */
function adopt(fd: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind({ fd }, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
