import { createSocket } from 'node:dgram';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import type { RandomSource } from '../../../base/random.ts';

const DATAGRAMS_AT_ONCE = 40;
const CONNECTIONS_AT_ONCE = 12;
/** A server that neither answers nor closes is left after this long. */
const LINGER_MS = 150;

export interface Place {
  readonly host: string;
  readonly port: number;
}

/** Sends many datagrams from one loopback socket, slowly enough that none is lost on the way. */
export async function sendDatagrams(
  to: Place,
  localAddress: string,
  count: number,
  make: () => Uint8Array,
): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.bind(0, localAddress, resolve));
  try {
    for (let sent = 0; sent < count; sent++) {
      await new Promise<void>((resolve) => socket.send(make(), to.port, to.host, () => resolve()));
      if (sent % DATAGRAMS_AT_ONCE === 0) await sleep(2);
    }
    await sleep(100);
  } finally {
    socket.close();
  }
}

export interface TlsIdentity {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Opens connections, a few at a time, and says on each what `make` gives; drops it once the other side has
 * closed or has been silent for a moment.
 * @param tls over TLS as this identity; undefined: plain TCP
 */
export async function sendStreams(
  to: Place,
  count: number,
  make: () => readonly Uint8Array[],
  tls?: TlsIdentity,
): Promise<void> {
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await sayAndLeave(to, make(), tls);
  };
  await Promise.all(Array.from({ length: CONNECTIONS_AT_ONCE }, lane));
}

function sayAndLeave(to: Place, parts: readonly Uint8Array[], tls: TlsIdentity | undefined): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket =
      tls === undefined
        ? connectTcp(to)
        : connectTls({ ...to, ...tls, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
    let timer = setTimeout(() => socket.destroy(), 3_000);
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      for (const part of parts) socket.write(part);
      clearTimeout(timer);
      timer = setTimeout(() => socket.destroy(), LINGER_MS);
    });
    socket.on('data', () => {});
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A damaged copy: cut, lengthened, with some bytes changed, or nothing of the original at all. */
export function damaged(original: Uint8Array, random: RandomSource): Uint8Array {
  switch (random.below(5)) {
    case 0:
      return original.slice(0, random.below(original.length));
    case 1:
      return Buffer.concat([original, random.bytes(1 + random.below(1_200))]);
    case 2:
      return random.bytes(1 + random.below(600));
    default: {
      const copy = original.slice();
      const changes = 1 + random.below(8);
      for (let i = 0; i < changes; i++)
        copy[random.below(copy.length)] = EVIL_BYTES[random.below(5)] as number;
      return copy;
    }
  }
}

const EVIL_BYTES = [0x00, 0xff, 0x7f, 0x80, 0x01];
