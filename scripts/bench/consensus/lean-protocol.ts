import { whenStepEnds } from '../../../base/step.ts';
import { pack, unpack } from '../../../cluster/msgpack.ts';

/**
 * The bench's own client protocol: any number of requests under way on one TCP connection, as gRPC has it.
 * A frame is its length (u32), the request's number (u32), a kind (u8) and a body in MessagePack; what is said
 * in one turn of the event loop leaves as one write.
 */
export const KIND = { put: 1, get: 2, status: 3, done: 4, failed: 5 } as const;

export interface Frame {
  readonly id: number;
  readonly kind: number;
  readonly body: Uint8Array;
}

const HEADER_BYTES = 9;
const MAX_FRAME_BYTES = 1024 * 1024;

/** A put's body is at the same time the command that goes into the log. */
export function encodePut(key: string, value: Uint8Array): Uint8Array {
  return pack([key, value]);
}

export function decodePut(body: Uint8Array): { readonly key: string; readonly value: Uint8Array } {
  const [key, value] = unpack(body) as [string, Uint8Array];
  return { key, value };
}

/** Collects frames and hands them over as one piece at the end of the step. */
export class FrameWriter {
  readonly #write: (bytes: Uint8Array) => void;
  #frames: Uint8Array[] = [];

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  add(id: number, kind: number, body: Uint8Array): void {
    const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
    frame.writeUInt32BE(body.length + HEADER_BYTES - 4, 0);
    frame.writeUInt32BE(id, 4);
    frame[8] = kind;
    frame.set(body, HEADER_BYTES);
    if (this.#frames.push(frame) === 1) whenStepEnds(this.#flush);
  }

  readonly #flush = (): void => {
    const frames = this.#frames;
    this.#frames = [];
    this.#write(frames.length === 1 ? (frames[0] as Uint8Array) : Buffer.concat(frames));
  };
}

/** Cuts a stream into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** @throws Error when a frame is larger than any of ours */
  *push(chunk: Buffer): Generator<Frame> {
    let input = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (input.length >= 4) {
      const lengthBytes = input.readUInt32BE(0);
      if (lengthBytes > MAX_FRAME_BYTES) throw new Error(`a frame of ${lengthBytes} bytes`);
      if (input.length < 4 + lengthBytes) break;
      yield {
        id: input.readUInt32BE(4),
        kind: input[8] ?? 0,
        body: input.subarray(HEADER_BYTES, 4 + lengthBytes),
      };
      input = input.subarray(4 + lengthBytes);
    }
    this.#rest = input;
  }
}
