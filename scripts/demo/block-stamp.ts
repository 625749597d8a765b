import { IMAGE_BLOCK_BYTES } from './demo-image.ts';

/**
 * A block whose content says who wrote it, where and which time, so that a read can be held against what was
 * acknowledged. The stamp is repeated through the whole block: a torn one cannot pass.
 */
export interface BlockStamp {
  readonly client: number;
  readonly block: number;
  /** From 1; 0 is a block never written. */
  readonly sequence: number;
}

const MAGIC = 0x62665344;
const WORDS = 4;

export function stampedBlock({ client, block, sequence }: BlockStamp): Uint8Array {
  const words = new Uint32Array(IMAGE_BLOCK_BYTES / 4);
  for (let at = 0; at < words.length; at += WORDS) words.set([MAGIC, client, block, sequence], at);
  return new Uint8Array(words.buffer);
}

/** @returns undefined when the bytes are not one whole stamped block */
export function readStamp(bytes: Uint8Array): BlockStamp | undefined {
  const words = new Uint32Array(Uint8Array.from(bytes).buffer);
  const [magic, client = 0, block = 0, sequence = 0] = words;
  if (magic !== MAGIC || words.length !== IMAGE_BLOCK_BYTES / 4) return undefined;
  for (let at = WORDS; at < words.length; at++) if (words[at] !== words[at % WORDS]) return undefined;
  return { client, block, sequence };
}
