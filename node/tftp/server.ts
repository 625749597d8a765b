import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { CancelTimer, Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError, InvariantError, ProtocolError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { plainFileName } from './file-name.ts';
import {
  RECEIVE_BUFFER_BYTES,
  REQUEST_BYTES_MAX,
  TRANSFERS_MAX,
  TRANSFERS_PER_ADDRESS_MAX,
} from './limits.ts';
import { negotiate } from './negotiation.ts';
import { toNetascii } from './netascii.ts';
import {
  decodeTftpPacket,
  encodeTftpPacket,
  TFTP_ERROR,
  type TftpPacket,
  type TftpRequest,
} from './packet.ts';
import type { BootFiles } from './ports.ts';
import {
  blockRange,
  startTransfer,
  stepTransfer,
  type TransferEffect,
  type TransferOutcome,
  type TransferState,
  type TransferStep,
} from './transfer-machine.ts';

export interface TftpServerOptions {
  /** One address of this node; transfers leave from it too. */
  readonly address: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly files: BootFiles;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
}

export interface TftpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** @throws the system's error when the port cannot be bound */
export async function startTftpServer(options: TftpServerOptions): Promise<TftpServer> {
  const socket = await bind(options.address, options.port);
  const transfers = new TransferTable();
  socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  socket.on('message', (bytes, sender) => {
    const request = readRequest(bytes, options.counters);
    if (request !== undefined) receiveRequest(request, sender, socket, transfers, options);
  });
  socket.on('error', (error) => options.logger.warn('tftp.socket.error', { error: error.message }));
  return {
    port: socket.address().port,
    close: async () => {
      transfers.closeAll();
      await new Promise<void>((done) => socket.close(() => done()));
    },
  };
}

/** Transfers under way, by the client's address and port, which is its transfer id. */
class TransferTable {
  readonly #cancels = new Map<string, () => void>();
  readonly #perAddress = new Map<string, number>();
  #closed = false;

  /** The server no longer answers, requests whose file was being opened included. */
  get closed(): boolean {
    return this.#closed;
  }

  has(client: RemoteInfo): boolean {
    return this.#cancels.has(keyOf(client));
  }

  isFull(client: RemoteInfo): boolean {
    return (
      this.#cancels.size >= TRANSFERS_MAX ||
      (this.#perAddress.get(client.address) ?? 0) >= TRANSFERS_PER_ADDRESS_MAX
    );
  }

  add(client: RemoteInfo): void {
    this.#cancels.set(keyOf(client), () => {});
    this.#perAddress.set(client.address, (this.#perAddress.get(client.address) ?? 0) + 1);
  }

  setCancel(client: RemoteInfo, cancel: () => void): void {
    this.#cancels.set(keyOf(client), cancel);
  }

  remove(client: RemoteInfo): void {
    if (!this.#cancels.delete(keyOf(client))) return;
    const left = (this.#perAddress.get(client.address) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(client.address);
    else this.#perAddress.set(client.address, left);
  }

  closeAll(): void {
    this.#closed = true;
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
    this.#perAddress.clear();
  }
}

const keyOf = (client: RemoteInfo): string => `${client.address}:${client.port}`;

function readRequest(bytes: Uint8Array, counters: Counters): TftpRequest | undefined {
  try {
    const packet = bytes.length <= REQUEST_BYTES_MAX ? decodeTftpPacket(bytes) : undefined;
    if (packet?.kind === 'readRequest' || packet?.kind === 'writeRequest') return packet;
    // Belongs to no transfer. Answering could go back and forth for ever (RFC 1350 §7).
    counters.add('tftp.stray');
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    counters.add('tftp.malformed');
  }
  return undefined;
}

function receiveRequest(
  request: TftpRequest,
  client: RemoteInfo,
  socket: Socket,
  transfers: TransferTable,
  options: TftpServerOptions,
): void {
  const { counters } = options;
  counters.add('tftp.requests');
  // The client repeats a request whose answer is late; the transfer's own timer repeats the answer.
  if (transfers.has(client)) return;
  const refuse = (code: number, message: string): void => {
    if (transfers.closed) return;
    counters.add('tftp.refused');
    socket.send(encodeTftpPacket({ kind: 'error', code, message }), client.port, client.address, () => {});
  };
  const name = plainFileName(request.fileName);
  if (request.kind === 'writeRequest') {
    refuse(TFTP_ERROR.accessViolation, 'this server only gives files out');
  } else if (request.mode !== 'octet' && request.mode !== 'netascii') {
    refuse(TFTP_ERROR.illegalOperation, 'the mode is neither octet nor netascii');
  } else if (name === undefined) {
    refuse(TFTP_ERROR.accessViolation, 'only plain file names are served, without folders');
  } else if (transfers.isFull(client)) {
    // Silence makes the client ask again later; an error would end its boot.
    counters.add('tftp.busy');
  } else {
    transfers.add(client);
    void openAndSend(request, name, client, refuse, transfers, options);
  }
}

/** Rejects only for a bug of ours, which ends the process. */
async function openAndSend(
  request: TftpRequest,
  name: string,
  client: RemoteInfo,
  refuse: (code: number, message: string) => void,
  transfers: TransferTable,
  options: TftpServerOptions,
): Promise<void> {
  const { files, logger } = options;
  try {
    const file = await files.open(name);
    if (file === undefined) {
      // iPXE looks for autoexec.ipxe on every boot, so this is no news.
      logger.debug('tftp.not-found', { name, from: client.address });
      refuse(TFTP_ERROR.fileNotFound, 'there is no such file');
      transfers.remove(client);
      return;
    }
    const bytes = request.mode === 'netascii' ? toNetascii(file) : file;
    const socket = await bind(options.address, 0);
    // Closed meanwhile.
    if (!transfers.has(client)) socket.close();
    else new Transfer(name, bytes, request, client, socket, transfers, options).start();
  } catch (error) {
    transfers.remove(client);
    if (error instanceof InvariantError) throw error;
    logger.error('tftp.open.failed', { name, error: describeError(error) });
    refuse(TFTP_ERROR.notDefined, 'the file cannot be read at the moment');
  }
}

/** Carries out what the transfer machine says, on a socket of its own. */
class Transfer {
  readonly #name: string;
  readonly #bytes: Uint8Array;
  readonly #client: RemoteInfo;
  readonly #socket: Socket;
  readonly #transfers: TransferTable;
  readonly #options: TftpServerOptions;
  readonly #startedMs: number;
  readonly #first: TransferStep;
  #state: TransferState;
  #cancelTimer: CancelTimer = () => {};
  #closed = false;

  constructor(
    name: string,
    bytes: Uint8Array,
    request: TftpRequest,
    client: RemoteInfo,
    socket: Socket,
    transfers: TransferTable,
    options: TftpServerOptions,
  ) {
    this.#name = name;
    this.#bytes = bytes;
    this.#client = client;
    this.#socket = socket;
    this.#transfers = transfers;
    this.#options = options;
    this.#startedMs = options.clock.monotonicMs();
    this.#first = startTransfer(negotiate(request.options, bytes.length));
    this.#state = this.#first.state;
  }

  start(): void {
    this.#transfers.setCancel(this.#client, () => this.#close());
    this.#socket.on('message', (bytes, sender) => this.#receive(bytes, sender));
    this.#socket.on('error', () => this.#options.counters.add('tftp.socket-error'));
    this.#carryOut(this.#first);
  }

  #receive(bytes: Uint8Array, sender: RemoteInfo): void {
    if (this.#closed) return;
    const { counters } = this.#options;
    if (sender.port !== this.#client.port || sender.address !== this.#client.address) {
      // RFC 1350 §4: another's packet is answered and does not disturb this transfer.
      counters.add('tftp.unknown-transfer-id');
      const message = 'this transfer is with another client';
      this.#send({ kind: 'error', code: TFTP_ERROR.unknownTransferId, message }, sender);
      return;
    }
    try {
      this.#carryOut(stepTransfer(this.#state, { kind: 'packet', packet: decodeTftpPacket(bytes) }));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      counters.add('tftp.malformed');
    }
  }

  #carryOut(step: TransferStep): void {
    this.#state = step.state;
    for (const effect of step.effects) this.#perform(effect);
  }

  #perform(effect: TransferEffect): void {
    switch (effect.kind) {
      case 'send-option-ack':
        this.#send({ kind: 'optionAck', options: effect.options });
        break;
      case 'send-error':
        this.#send({ kind: 'error', code: effect.code, message: effect.message });
        break;
      case 'send-blocks':
        for (let block = effect.first; block <= effect.last; block++) this.#sendBlock(block);
        break;
      case 'arm-timer':
        this.#cancelTimer();
        this.#cancelTimer = this.#options.timers.setTimer(effect.delayMs, () => {
          this.#options.counters.add('tftp.timeouts');
          this.#carryOut(stepTransfer(this.#state, { kind: 'timeout' }));
        });
        break;
      case 'end':
        this.#end(effect.outcome);
        break;
    }
  }

  #sendBlock(block: number): void {
    const { start, end } = blockRange(this.#state.terms, block);
    this.#send({ kind: 'data', block: block & 0xffff, data: this.#bytes.subarray(start, end) });
  }

  #send(packet: TftpPacket, to: RemoteInfo = this.#client): void {
    this.#socket.send(encodeTftpPacket(packet), to.port, to.address, (error) => {
      if (error !== null) this.#options.counters.add('tftp.send-failed');
    });
  }

  #end(outcome: TransferOutcome): void {
    const { counters, logger, clock } = this.#options;
    counters.add(`tftp.${outcome}`);
    logger.debug(`tftp.${outcome}`, {
      name: this.#name,
      to: this.#client.address,
      sizeBytes: this.#bytes.length,
      tookMs: Math.round(clock.monotonicMs() - this.#startedMs),
    });
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelTimer();
    this.#transfers.remove(this.#client);
    // Lets what was just sent leave before the socket goes.
    setImmediate(() => this.#socket.close());
  }
}

function bind(address: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
