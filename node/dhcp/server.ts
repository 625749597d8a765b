import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Clock } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError, ProtocolError } from '../../base/errors.ts';
import type { Ipv4 } from '../../base/ipv4.ts';
import type { Logger } from '../../base/logger.ts';
import { RECEIVE_BUFFER_BYTES, REPLY_BYTES_MAX } from './limits.ts';
import { answerDhcp, type DhcpArrival, type DhcpEnvironment, type DhcpOutcome } from './machine.ts';
import { type DhcpMessage, decodeDhcpMessage, encodeDhcpMessage } from './message.ts';
import type { ReplyDestination } from './reply-destination.ts';

/** The ports of RFC 2131 §4.1 and of PXE 2.1 §2.2.1. */
const DHCP_SERVER_PORT = 67;
const DHCP_CLIENT_PORT = 68;
const PXE_BOOT_SERVER_PORT = 4011;

/** Where the server listens. */
export type DhcpEndpoint =
  /** A network with clients: all that arrives at this interface, broadcasts included. Needs privilege. */
  | {
      readonly kind: 'interface';
      readonly interfaceName: string;
      /** This node's address there: server identifier and next server of every reply. */
      readonly localAddress: Ipv4;
    }
  /** One address and port, reached by relay agents only, which are answered at that same port. */
  | {
      readonly kind: 'address';
      readonly localAddress: Ipv4;
      readonly port: number;
      /** Also listen here as a PXE boot server. */
      readonly bootServerPort?: number;
    };

export interface DhcpServerOptions {
  readonly endpoints: readonly DhcpEndpoint[];
  /** Asked for every message, so that changed settings count at once. */
  readonly environment: () => DhcpEnvironment;
  /** Opens a socket bound to an interface (node/net/interface-udp.ts). */
  readonly openInterfaceUdp: (interfaceName: string, port: number) => Promise<Socket>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
}

export interface DhcpServer {
  close(): Promise<void>;
}

/** One open socket and what replies need to know of it. */
interface Listener {
  readonly socket: Socket;
  readonly arrival: DhcpArrival;
  /** Where relay agents listen. */
  readonly relayPort: number;
  readonly canBroadcast: boolean;
}

/**
 * Opens every endpoint and answers until closed.
 * @throws OperationError or a system error when an endpoint cannot be opened; those opened are closed again
 */
export async function startDhcpServer(options: DhcpServerOptions): Promise<DhcpServer> {
  const listeners: Listener[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((l) => new Promise<void>((done) => l.socket.close(() => done()))));
  };
  try {
    for (const endpoint of options.endpoints) {
      for (const listener of await openEndpoint(endpoint, options)) {
        listeners.push(listener);
        listen(listener, options);
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

async function openEndpoint(endpoint: DhcpEndpoint, options: DhcpServerOptions): Promise<Listener[]> {
  const { localAddress } = endpoint;
  const canBroadcast = endpoint.kind === 'interface';
  const relayPort = endpoint.kind === 'interface' ? DHCP_SERVER_PORT : endpoint.port;
  const bootPort = endpoint.kind === 'interface' ? PXE_BOOT_SERVER_PORT : endpoint.bootServerPort;
  const open = (port: number): Promise<Socket> =>
    endpoint.kind === 'interface'
      ? options.openInterfaceUdp(endpoint.interfaceName, port)
      : bindAddress(localAddress, port);
  const socket = await open(relayPort);
  const dhcp: Listener = { socket, arrival: { service: 'dhcp', localAddress }, relayPort, canBroadcast };
  if (bootPort === undefined) return [dhcp];
  try {
    const bootSocket = await open(bootPort);
    return [dhcp, { ...dhcp, socket: bootSocket, arrival: { service: 'boot-server', localAddress } }];
  } catch (error) {
    socket.close();
    throw error;
  }
}

function bindAddress(address: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

function listen(listener: Listener, options: DhcpServerOptions): void {
  const { logger, counters } = options;
  listener.socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  listener.socket.on('message', (bytes, sender) => receive(bytes, sender, listener, options));
  // ICMP answers to what was sent, and the like: nothing that would stop the socket.
  listener.socket.on('error', (error) => {
    counters.add('dhcp.socket-error');
    logger.warn('dhcp.socket.error', { error: error.message });
  });
}

function receive(
  bytes: Uint8Array,
  sender: RemoteInfo,
  listener: Listener,
  options: DhcpServerOptions,
): void {
  const { counters, logger, clock } = options;
  counters.add('dhcp.received');
  let request: DhcpMessage;
  try {
    request = decodeDhcpMessage(bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    counters.add('dhcp.malformed');
    logger.debug('dhcp.malformed', { from: sender.address, code: error.code, problem: error.message });
    return;
  }
  const outcome = answerDhcp(request, listener.arrival, options.environment(), clock.wallMs());
  if (outcome.kind === 'ignored') {
    counters.add(`dhcp.ignored.${outcome.reason}`);
    noteIgnored(outcome, logger);
    return;
  }
  send(outcome, sender, listener, options);
}

function noteIgnored(outcome: Extract<DhcpOutcome, { kind: 'ignored' }>, logger: Logger): void {
  const { mac, detail } = outcome;
  if (outcome.reason === 'decline') {
    // RFC 2131 §4.3.3: the client found its address in use by another machine.
    logger.warn('dhcp.declined', { mac });
  } else {
    logger.debug('dhcp.ignored', { reason: outcome.reason, mac, detail });
  }
}

function send(
  outcome: Extract<DhcpOutcome, { kind: 'reply' }>,
  sender: RemoteInfo,
  listener: Listener,
  options: DhcpServerOptions,
): void {
  const { counters, logger } = options;
  const bytes = encodeDhcpMessage(outcome.message);
  const to = socketAddress(outcome.destination, sender, listener);
  const about = { client: outcome.clientName, mac: outcome.mac, firmware: outcome.firmware };
  if (to === undefined || bytes.length > REPLY_BYTES_MAX) {
    counters.add('dhcp.unsendable');
    logger.warn('dhcp.unsendable', { ...about, sizeBytes: bytes.length, destination: outcome.destination });
    return;
  }
  listener.socket.send(bytes, to.port, to.address, (error) => {
    if (error === null) return;
    counters.add('dhcp.send-failed');
    logger.warn('dhcp.send.failed', { ...about, to: to.address, error: describeError(error) });
  });
  counters.add(`dhcp.${outcome.replyType}`);
  logger.debug(`dhcp.${outcome.replyType}.sent`, { ...about, to: to.address, file: outcome.message.file });
}

function socketAddress(
  destination: ReplyDestination,
  sender: RemoteInfo,
  listener: Listener,
): { address: string; port: number } | undefined {
  switch (destination.kind) {
    case 'relay':
      return { address: destination.address, port: listener.relayPort };
    case 'client':
      return { address: destination.address, port: DHCP_CLIENT_PORT };
    case 'broadcast':
      return listener.canBroadcast ? { address: '255.255.255.255', port: DHCP_CLIENT_PORT } : undefined;
    case 'sender':
      return { address: sender.address, port: sender.port };
  }
}
