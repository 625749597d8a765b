import { ProtocolError } from '../../base/errors.ts';
import { layout, u8, u32 } from '../../base/layout.ts';
import type { Slab, SlabMemory, SlabPart } from '../../base/slab-memory.ts';
import { SHORT_BODY_BYTES } from './limits.ts';

/** What goes over a connection: a length, a type and that many bytes. */
export const FrameType = { hello: 1, refusal: 2, message: 3, ping: 4, pong: 5 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export interface Frame {
  readonly type: number;
  readonly body: Uint8Array;
  /** What the body is a part of, where that is of the decoder's memory. */
  readonly slab?: Slab | undefined;
}

/** `lengthBytes` counts the body alone. */
export const frameHeader = layout('frame header', 5, { lengthBytes: u32(0), type: u8(4) });

export function encodeFrameHeader(type: FrameType, lengthBytes: number): Uint8Array {
  return frameHeader.encode({ lengthBytes, type });
}

export function encodeFrame(type: FrameType, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = new Uint8Array(frameHeader.sizeBytes + body.length);
  frameHeader.encode({ lengthBytes: body.length, type }, frame);
  frame.set(body, frameHeader.sizeBytes);
  return frame;
}

/**
 * Cuts a stream into frames. A body that came in one chunk is a view of that chunk, unless chunks are lent; one that came
 * in several is put together once. What is held is never more than one frame of the size allowed.
 */
export class FrameDecoder {
  /** Largest body accepted; may be raised once the other side is known. */
  maxBodyBytes: number;
  /** Chunks are their giver's again once push has gone through them: nothing that is yielded is a view of one. */
  chunksAreLent = false;
  /** Bytes of a header that is not complete yet. */
  #head: Uint8Array = new Uint8Array(0);
  #partial: { readonly type: number; readonly part: SlabPart; filledBytes: number } | undefined;
  readonly #memory: SlabMemory | undefined;

  /** @param memory for bodies that come in several chunks; absent: each gets fresh memory */
  constructor(maxBodyBytes: number, memory?: SlabMemory) {
    this.maxBodyBytes = maxBodyBytes;
    this.#memory = memory;
  }

  /** Takes in a chunk that neither begins nor ends a frame, as most are. @returns false: nothing was taken, see push */
  goesOn(chunk: Uint8Array): boolean {
    const partial = this.#partial;
    if (partial === undefined || chunk.length >= partial.part.bytes.length - partial.filledBytes)
      return false;
    partial.part.bytes.set(chunk, partial.filledBytes);
    partial.filledBytes += chunk.length;
    return true;
  }

  /** The frames that `chunk` completes, in order. @throws ProtocolError code "frame-too-large" */
  *push(chunk: Uint8Array): Generator<Frame> {
    let input = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    this.#head = new Uint8Array(0);
    while (input.length > 0) {
      if (this.#partial !== undefined) {
        const { part, filledBytes, type } = this.#partial;
        const { bytes: body, slab } = part;
        const taken = input.subarray(0, body.length - filledBytes);
        body.set(taken, filledBytes);
        this.#partial.filledBytes += taken.length;
        input = input.subarray(taken.length);
        if (this.#partial.filledBytes < body.length) return;
        this.#partial = undefined;
        yield { type, body, slab };
        continue;
      }
      if (input.length < frameHeader.sizeBytes) {
        this.#head = input.slice();
        return;
      }
      const { type, lengthBytes } = frameHeader.decode(input);
      this.#checkLength(lengthBytes);
      input = input.subarray(frameHeader.sizeBytes);
      if (input.length >= lengthBytes) {
        const body = input.subarray(0, lengthBytes);
        input = input.subarray(lengthBytes);
        yield this.chunksAreLent ? this.#copied(type, body) : { type, body };
      } else {
        // Not cleared: it is handed on only when every byte of it has been put in.
        const part = this.#memory?.take(lengthBytes) ?? freshPart(lengthBytes);
        this.#partial = { type, part, filledBytes: 0 };
      }
    }
  }

  /** What nobody gives back is not to hold on to memory of what will be: answers and the like are short. */
  #copied(type: number, body: Uint8Array): Frame {
    const isShort = body.length <= SHORT_BODY_BYTES;
    const { bytes, slab } = (isShort ? undefined : this.#memory?.take(body.length)) ?? freshPart(body.length);
    bytes.set(body);
    return { type, body: bytes, slab };
  }

  #checkLength(lengthBytes: number): void {
    if (lengthBytes <= this.maxBodyBytes) return;
    throw new ProtocolError(`a frame of ${lengthBytes} bytes`, {
      code: 'frame-too-large',
      got: lengthBytes,
      limit: this.maxBodyBytes,
    });
  }
}

function freshPart(lengthBytes: number): SlabPart {
  return { bytes: Buffer.allocUnsafeSlow(lengthBytes), slab: undefined };
}
