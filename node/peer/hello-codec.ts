import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { ProtocolError } from '../../base/errors.ts';

/**
 * The first frame each side of a connection sends:
 *
 *     magic "bfab" | u16 protocol version | service | cluster id | node id | incarnation
 *
 * each text as one length byte and that many bytes of UTF-8. Magic and version keep their place in every
 * version, so that two versions can always tell each other so.
 */
export interface Hello {
  /** Which of a node's listeners is meant, as "cluster". */
  readonly service: string;
  readonly clusterId: string;
  readonly nodeId: string;
  readonly incarnation: string;
}

export const PROTOCOL_VERSION = 1;
const MAGIC = 0x62666162;
const MAX_TEXT_BYTES = 255;

/** Why a connection is refused; the last frame it gets. */
export interface Refusal {
  /** Machine-readable reason, kebab-case. */
  readonly code: string;
  readonly message: string;
}

export function encodeHello(hello: Hello, protocolVersion = PROTOCOL_VERSION): Uint8Array {
  const writer = new ByteWriter(64).u32(MAGIC).u16(protocolVersion);
  for (const value of [hello.service, hello.clusterId, hello.nodeId, hello.incarnation]) text(writer, value);
  return writer.finish();
}

/**
 * @throws ProtocolError code "bad-magic", "protocol-version" (got and limit are the versions), "truncated",
 *   "trailing-bytes" or "bad-text"
 */
export function decodeHello(bytes: Uint8Array): Hello {
  const reader = new ByteReader(bytes, 'hello');
  const magic = reader.u32();
  if (magic !== MAGIC) {
    throw new ProtocolError('the other side is no node of ours', {
      code: 'bad-magic',
      got: magic,
      limit: MAGIC,
    });
  }
  const version = reader.u16();
  if (version !== PROTOCOL_VERSION) {
    throw new ProtocolError(
      `the other node speaks version ${version} of the peer protocol, this one ${PROTOCOL_VERSION}`,
      {
        code: 'protocol-version',
        got: version,
        limit: PROTOCOL_VERSION,
      },
    );
  }
  const hello = {
    service: readText(reader),
    clusterId: readText(reader),
    nodeId: readText(reader),
    incarnation: readText(reader),
  };
  expectEnd(reader, 'hello');
  return hello;
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
