import { connect, type Socket } from 'node:net';
import { unpack } from '../../../cluster/msgpack.ts';
import { encodePut, FrameReader, FrameWriter, KIND } from './lean-protocol.ts';
import type { KeyValueConnection } from './system-under-test.ts';

interface Waiting {
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

const NO_BODY = new Uint8Array(0);
const CONNECT_TIMEOUT_MS = 2000;

/** The client's end of the bench's own protocol. */
export class LeanConnection implements KeyValueConnection {
  readonly #socket: Socket;
  readonly #writer: FrameWriter;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #closed: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#writer = new FrameWriter((bytes) => socket.write(bytes));
    const reader = new FrameReader();
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      for (const { id, kind, body } of reader.push(chunk)) {
        const waiting = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (kind === KIND.done) waiting?.resolve(body);
        else waiting?.reject(new Error(String(unpack(body))));
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => this.#fail(new Error('the connection ended')));
  }

  static async open(host: string, port: number): Promise<LeanConnection> {
    const socket = connect({ host, port });
    await new Promise<void>((resolve, reject) => {
      socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(new Error('no answer to the connection')));
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        socket.setTimeout(0);
        resolve();
      });
    });
    return new LeanConnection(socket);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    await this.#ask(KIND.put, encodePut(key, value));
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const body = await this.#ask(KIND.get, Buffer.from(key));
    return body.length === 0 ? undefined : body;
  }

  async status(): Promise<unknown> {
    return unpack(await this.#ask(KIND.status, NO_BODY));
  }

  close(): void {
    this.#socket.destroy();
    this.#fail(new Error('closed'));
  }

  #ask(kind: number, body: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) {
        reject(this.#closed);
        return;
      }
      const id = this.#nextId;
      this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
      this.#waiting.set(id, { resolve, reject });
      this.#writer.add(id, kind, body);
    });
  }

  #fail(error: Error): void {
    this.#closed ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
