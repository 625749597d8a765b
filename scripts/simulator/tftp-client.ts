import { createSocket, type Socket } from 'node:dgram';
import { ProtocolError } from '../../base/errors.ts';
import { decodeTftpPacket, encodeTftpPacket, type TftpPacket } from '../../node/tftp/packet.ts';

/** As iPXE asks: 1432 leaves room for the headers of any tunnel. */
const DEFAULT_BLKSIZE = 1_432;
const DEFAULT_WAIT_MS = 1_000;
const ATTEMPTS_MAX = 6;

export interface TftpGetOptions {
  readonly server: string;
  readonly port: number;
  readonly fileName: string;
  /** The client's own address; any when absent. */
  readonly localAddress?: string;
  readonly blksize?: number;
  readonly windowsize?: number;
  readonly mode?: 'octet' | 'netascii';
  /** False asks as RFC 1350 alone has it, without any option. */
  readonly withOptions?: boolean;
  readonly waitMs?: number;
  /** For tests: called for each packet in either direction; true loses it. */
  readonly lose?: (direction: 'sent' | 'received', packet: TftpPacket) => boolean;
}

export interface TftpFile {
  readonly bytes: Uint8Array;
  /** The size the server announced, if it did. */
  readonly announcedSizeBytes: number | undefined;
  readonly blksize: number;
  readonly windowsize: number;
}

/** The server refused. `code` is that of RFC 1350. */
export class TftpRefusedError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(`TFTP error ${code}: ${message}`);
    this.name = 'TftpRefusedError';
    this.code = code;
  }
}

/** What a download has got so far. */
interface Download {
  readonly parts: Uint8Array[];
  received: number;
  sinceAck: number;
  blksize: number;
  windowsize: number;
  announcedSizeBytes: number | undefined;
}

/** Fetches a file as boot firmware does. @throws TftpRefusedError, or Error when the server stops answering */
export async function tftpGet(options: TftpGetOptions): Promise<TftpFile> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, options.localAddress, resolve);
  });
  try {
    const download: Download = {
      parts: [],
      received: 0,
      sinceAck: 0,
      blksize: 512,
      windowsize: 1,
      announcedSizeBytes: undefined,
    };
    await receiveAll(socket, download, options);
    return {
      bytes: Buffer.concat(download.parts),
      announcedSizeBytes: download.announcedSizeBytes,
      blksize: download.blksize,
      windowsize: download.windowsize,
    };
  } finally {
    socket.close();
  }
}

/** Asks only for the size, then gives up the transfer with an error packet, as UEFI firmware does first. */
export async function tftpSize(options: TftpGetOptions): Promise<number | undefined> {
  const socket = createSocket('udp4');
  try {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no answer')), options.waitMs ?? DEFAULT_WAIT_MS);
      socket.on('error', reject);
      socket.on('message', (bytes, from) => {
        clearTimeout(timer);
        const packet = decodeTftpPacket(bytes);
        if (packet.kind === 'error') reject(new TftpRefusedError(packet.code, packet.message));
        if (packet.kind !== 'optionAck') return;
        const abort = encodeTftpPacket({ kind: 'error', code: 8, message: 'user aborted' });
        socket.send(abort, from.port, from.address, () =>
          resolve(Number(packet.options.get('tsize') ?? Number.NaN)),
        );
      });
      socket.send(encodeTftpPacket(requestOf(options)), options.port, options.server);
    });
  } finally {
    socket.close();
  }
}

function requestOf(options: TftpGetOptions): TftpPacket {
  const asked = new Map<string, string>();
  if (options.withOptions !== false) {
    asked.set('blksize', String(options.blksize ?? DEFAULT_BLKSIZE));
    asked.set('tsize', '0');
    if (options.windowsize !== undefined) asked.set('windowsize', String(options.windowsize));
  }
  return { kind: 'readRequest', fileName: options.fileName, mode: options.mode ?? 'octet', options: asked };
}

function receiveAll(socket: Socket, download: Download, options: TftpGetOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    let peerPort: number | undefined;
    let attempts = 0;
    let timer: NodeJS.Timeout | undefined;
    let last: TftpPacket = requestOf(options);
    const send = (packet: TftpPacket): void => {
      last = packet;
      clearTimeout(timer);
      timer = setTimeout(again, options.waitMs ?? DEFAULT_WAIT_MS);
      if (options.lose?.('sent', packet) === true) return;
      socket.send(encodeTftpPacket(packet), peerPort ?? options.port, options.server);
    };
    const again = (): void => {
      attempts++;
      if (attempts <= ATTEMPTS_MAX) send(last);
      else reject(new Error(`the TFTP server ${options.server}:${options.port} does not answer`));
    };
    socket.on('error', reject);
    socket.on('message', (bytes, from) => {
      const packet = decode(bytes);
      if (packet === undefined || (peerPort !== undefined && from.port !== peerPort)) return;
      if (options.lose?.('received', packet) === true) return;
      peerPort = from.port;
      attempts = 0;
      const outcome = absorb(download, packet);
      if (outcome instanceof Error) reject(outcome);
      else if (outcome.ack) send({ kind: 'ack', block: download.received & 0xffff });
      if (!(outcome instanceof Error) && outcome.complete) resolve();
      if (outcome instanceof Error || outcome.complete) clearTimeout(timer);
    });
    send(last);
  });
}

/** Takes one packet in; says whether to acknowledge and whether that was all. */
function absorb(download: Download, packet: TftpPacket): Error | { ack: boolean; complete: boolean } {
  switch (packet.kind) {
    case 'error':
      return new TftpRefusedError(packet.code, packet.message);
    case 'optionAck': {
      if (download.received > 0) return { ack: false, complete: false };
      download.blksize = Number(packet.options.get('blksize') ?? download.blksize);
      download.windowsize = Number(packet.options.get('windowsize') ?? 1);
      const size = packet.options.get('tsize');
      if (size !== undefined) download.announcedSizeBytes = Number(size);
      return { ack: true, complete: false };
    }
    case 'data': {
      // A gap or a repetition: say again what came last (RFC 7440 §4).
      if (packet.block !== ((download.received + 1) & 0xffff)) {
        download.sinceAck = 0;
        return { ack: true, complete: false };
      }
      download.parts.push(Uint8Array.from(packet.data));
      download.received++;
      download.sinceAck++;
      const complete = packet.data.length < download.blksize;
      const ack = complete || download.sinceAck >= download.windowsize;
      if (ack) download.sinceAck = 0;
      return { ack, complete };
    }
    case 'ack':
    case 'readRequest':
    case 'writeRequest':
      return new Error(`the server sent a ${packet.kind}`);
  }
}

function decode(bytes: Uint8Array): TftpPacket | undefined {
  try {
    return decodeTftpPacket(bytes);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
