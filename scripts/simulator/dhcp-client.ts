import { createSocket, type Socket } from 'node:dgram';
import { ProtocolError } from '../../base/errors.ts';
import type { Ipv4 } from '../../base/ipv4.ts';
import type { RandomSource } from '../../base/random.ts';
import {
  BOOT_REPLY,
  type DhcpMessage,
  decodeDhcpMessage,
  encodeDhcpMessage,
} from '../../node/dhcp/message.ts';
import { MESSAGE_TYPE } from '../../node/dhcp/option-registry.ts';
import {
  type DhcpIdentity,
  type DhcpLease,
  discoverMessage,
  leaseOf,
  messageTypeOf,
  selectingMessage,
} from './dhcp-messages.ts';

/** How long firmware waits for an answer before it asks again; it gives up after the last. */
const DEFAULT_WAITS_MS = [1_000, 2_000, 4_000, 8_000];

export interface DhcpClientOptions {
  readonly identity: DhcpIdentity;
  /**
   * Where the client and its relay agent are: an address of this machine that no other simulated client
   * uses at the same time, such as 127.0.1.7. Replies come here.
   */
  readonly relayAddress: Ipv4;
  /** The nodes' DHCP port. The relay listens at the same port, as relays do at 67. */
  readonly port: number;
  /** Every node: like a relay agent, messages go to all of them. */
  readonly servers: readonly Ipv4[];
  readonly random: RandomSource;
  readonly waitsMs?: readonly number[];
}

export class DhcpTimeoutError extends Error {
  constructor(mac: string) {
    super(`no DHCP server answered ${mac}`);
    this.name = 'DhcpTimeoutError';
  }
}

/**
 * DISCOVER, the first OFFER, REQUEST, ACK.
 * @throws DhcpTimeoutError when no server answers in time
 */
export async function acquireLease(options: DhcpClientOptions): Promise<DhcpLease> {
  const socket = await bind(options.relayAddress, options.port);
  try {
    for (const waitMs of options.waitsMs ?? DEFAULT_WAITS_MS) {
      const lease = await exchange(socket, options, waitMs);
      if (lease !== undefined) return lease;
    }
    throw new DhcpTimeoutError(options.identity.mac);
  } finally {
    socket.close();
  }
}

async function exchange(
  socket: Socket,
  options: DhcpClientOptions,
  waitMs: number,
): Promise<DhcpLease | undefined> {
  const { identity, relayAddress } = options;
  const xid = options.random.below(0x1_0000_0000);
  const discover = discoverMessage(identity, xid, relayAddress);
  const offer = await ask(socket, options, discover, [MESSAGE_TYPE.offer], waitMs);
  const offered = offer === undefined ? undefined : leaseOf(offer);
  if (offered === undefined) return undefined;
  const request = selectingMessage(identity, xid, relayAddress, offered);
  const answer = await ask(socket, options, request, [MESSAGE_TYPE.ack, MESSAGE_TYPE.nak], waitMs);
  if (answer === undefined || messageTypeOf(answer) !== MESSAGE_TYPE.ack) return undefined;
  return leaseOf(answer);
}

/** Sends to every server and waits for the first reply of an accepted type. */
function ask(
  socket: Socket,
  options: DhcpClientOptions,
  message: DhcpMessage,
  acceptedTypes: readonly number[],
  waitMs: number,
): Promise<DhcpMessage | undefined> {
  return new Promise((resolve) => {
    const end = (reply: DhcpMessage | undefined): void => {
      clearTimeout(timer);
      socket.off('message', onMessage);
      resolve(reply);
    };
    const onMessage = (bytes: Uint8Array): void => {
      const reply = decodeReply(bytes);
      const type = reply === undefined ? undefined : messageTypeOf(reply);
      if (reply?.xid === message.xid && type !== undefined && acceptedTypes.includes(type)) end(reply);
    };
    const timer = setTimeout(end, waitMs, undefined);
    socket.on('message', onMessage);
    const bytes = encodeDhcpMessage(message);
    // A node that is down answers with an ICMP error at most, which is no reason to stop.
    for (const server of options.servers) socket.send(bytes, options.port, server, () => {});
  });
}

function decodeReply(bytes: Uint8Array): DhcpMessage | undefined {
  try {
    const message = decodeDhcpMessage(bytes);
    return message.op === BOOT_REPLY ? message : undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

function bind(address: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}
