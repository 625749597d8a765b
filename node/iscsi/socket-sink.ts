import { writevSync } from 'node:fs';
import type { Socket } from 'node:net';
import { descriptorOf } from '../net/socket-passing.ts';
import type { ByteSink } from './outbox.ts';

/**
 * A socket as a place to write to. What it can take at once it is given by the system's own call: a stream's write makes
 * several objects and comes back by way of the queue of ticks, which costs as much as finding the answer to a short read.
 * Where there is no descriptor to be had, all goes the ordinary way.
 */
export class SocketSink implements ByteSink {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Nothing may be overtaken: what is queued in the stream, or in the runtime below it, leaves first. */
  writeNow(pieces: readonly Uint8Array[]): number {
    const socket = this.#socket;
    if (socket.writableLength > 0 || socket.writableEnded || socket.destroyed) return 0;
    // None where the socket has been closed: its number may be another file's by now.
    const fd = descriptorOf(socket);
    if (fd === undefined) return 0;
    try {
      return writevSync(fd, pieces);
    } catch {
      // It is full, or broken, which the ordinary way finds out as well.
      return 0;
    }
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  write(chunk: Uint8Array, done?: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }
}
