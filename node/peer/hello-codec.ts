import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { ProtocolError } from '../../base/errors.ts';

/**
 * The first frame each side of a connection sends:
 *
 *     magic "bfab" | u16 newest version | u16 oldest version | service | cluster id | node id | incarnation
 *     from version 3: | digest of the last word
 *     from version 4: | u8 worker
 *
 * each text as one length byte and that many bytes of UTF-8. What stands here keeps its place in every version;
 * later ones may add to the end. So any two versions can tell each other which they speak, and both arrive at the
 * same: the newest that both do, or none.
 */
export interface Hello {
  /** Which of a node's listeners is meant, as "cluster". */
  readonly service: string;
  readonly clusterId: string;
  readonly nodeId: string;
  readonly incarnation: string;
  /** Of the word by which the node's guardian will make its end known (last-word.ts); absent: it will not. */
  readonly lastWordDigest?: string;
  /** Which of the node's data-plane workers this is; absent: the first, which has number 0, or none of them. */
  readonly worker?: number;
}

/** Versions of everything that goes over a connection after the hello: frames, and the messages in them. */
export interface ProtocolRange {
  readonly oldest: number;
  readonly newest: number;
}

/** What this program speaks. Version 2: snapshots go in chunks. Version 3: last words. Version 4: several workers. */
export const PROTOCOL: ProtocolRange = { oldest: 2, newest: 4 };
const LAST_WORDS_SINCE = 3;
const WORKERS_SINCE = 4;
const MAGIC = 0x62666162;
const MAX_TEXT_BYTES = 255;

/** Why a connection is refused; the last frame it gets. */
export interface Refusal {
  /** Machine-readable reason, kebab-case. */
  readonly code: string;
  readonly message: string;
}

export function encodeHello(hello: Hello, { newest, oldest } = PROTOCOL): Uint8Array {
  const writer = new ByteWriter(64).u32(MAGIC).u16(newest).u16(oldest);
  for (const value of [hello.service, hello.clusterId, hello.nodeId, hello.incarnation]) text(writer, value);
  if (newest >= LAST_WORDS_SINCE) text(writer, hello.lastWordDigest ?? '');
  if (newest >= WORKERS_SINCE) writer.u8(hello.worker ?? 0);
  return writer.finish();
}

/**
 * @param own what this side speaks
 * @returns what the other side says, and the version that both are to use from now on
 * @throws ProtocolError code "bad-magic", "protocol-version" (got and limit are the versions), "truncated",
 *   "trailing-bytes" or "bad-text"
 */
export function decodeHello(
  bytes: Uint8Array,
  own: ProtocolRange = PROTOCOL,
): { readonly hello: Hello; readonly version: number } {
  const reader = new ByteReader(bytes, 'hello');
  const magic = reader.u32();
  if (magic !== MAGIC) {
    throw new ProtocolError('the other side is no node of ours', {
      code: 'bad-magic',
      got: magic,
      limit: MAGIC,
    });
  }
  const newest = reader.u16();
  // Version 1 said no more than that.
  const oldest = newest < 2 ? newest : reader.u16();
  const protocol = { oldest, newest };
  const version = Math.min(newest, own.newest);
  if (version < own.oldest || version < oldest) {
    throw new ProtocolError(
      `the other node speaks ${spoken(protocol)} of the peer protocol, this one ${spoken(own)}`,
      { code: 'protocol-version', got: spoken(protocol), limit: spoken(own) },
    );
  }
  const hello = {
    service: readText(reader),
    clusterId: readText(reader),
    nodeId: readText(reader),
    incarnation: readText(reader),
  };
  const lastWordDigest = newest >= LAST_WORDS_SINCE ? readText(reader) : '';
  const worker = newest >= WORKERS_SINCE ? reader.u8() : 0;
  if (newest <= own.newest) expectEnd(reader, 'hello');
  return {
    hello: {
      ...hello,
      ...(lastWordDigest === '' ? {} : { lastWordDigest }),
      ...(worker === 0 ? {} : { worker }),
    },
    version,
  };
}

function spoken({ oldest, newest }: ProtocolRange): string {
  return oldest === newest ? `version ${newest}` : `versions ${oldest} to ${newest}`;
}

export function encodeRefusal(refusal: Refusal): Uint8Array {
  const writer = new ByteWriter(64);
  text(writer, refusal.code);
  text(writer, refusal.message);
  return writer.finish();
}

/** @throws ProtocolError code "truncated", "trailing-bytes" or "bad-text" */
export function decodeRefusal(bytes: Uint8Array): Refusal {
  const reader = new ByteReader(bytes, 'refusal');
  const refusal = { code: readText(reader), message: readText(reader) };
  expectEnd(reader, 'refusal');
  return refusal;
}

/** Over-long text is cut; ids are short, and of a reason the beginning is enough. */
function text(writer: ByteWriter, value: string): void {
  const full = new TextEncoder().encode(value);
  let end = Math.min(full.length, MAX_TEXT_BYTES);
  // Not inside a character: continuation bytes of UTF-8 are 10xxxxxx.
  while (end < full.length && ((full[end] ?? 0) & 0xc0) === 0x80) end--;
  writer.u8(end).bytes(full.subarray(0, end));
}

function readText(reader: ByteReader): string {
  const bytes = reader.bytes(reader.u8());
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ProtocolError('text that is not UTF-8', { code: 'bad-text' });
  }
}

function expectEnd(reader: ByteReader, what: string): void {
  if (reader.remaining === 0) return;
  throw new ProtocolError(`${reader.remaining} bytes follow the ${what}`, {
    code: 'trailing-bytes',
    got: reader.remaining,
    limit: 0,
  });
}
