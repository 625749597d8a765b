import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { ProtocolError } from '../../base/errors.ts';

/*
 * RFC 1350 §5, RFC 2347 §2
 *
 *           2 bytes    string   1    string  1   string   1   string  1
 *   RRQ   | 01/02 |  filename | 0 |  mode  | 0 | option | 0 | value | 0 | ...
 *   WRQ
 *           2 bytes    2 bytes       n bytes
 *   DATA  |  03   |   block #  |    data    |
 *   ACK   |  04   |   block #  |
 *   ERROR |  05   | error code |   message  | 0 |
 *   OACK  |  06   |  option | 0 |  value  | 0 | ...
 */
const OPCODE = { readRequest: 1, writeRequest: 2, data: 3, ack: 4, error: 5, optionAck: 6 } as const;

/** Error codes (RFC 1350 appendix, RFC 2347 §4). */
export const TFTP_ERROR = {
  notDefined: 0,
  fileNotFound: 1,
  accessViolation: 2,
  illegalOperation: 4,
  unknownTransferId: 5,
  optionNegotiation: 8,
} as const;

/** Option names are in lower case; the order is the sender's. */
export type TftpOptions = ReadonlyMap<string, string>;

export interface TftpRequest {
  readonly kind: 'readRequest' | 'writeRequest';
  readonly fileName: string;
  /** In lower case. */
  readonly mode: string;
  readonly options: TftpOptions;
}

export type TftpPacket =
  | TftpRequest
  | { readonly kind: 'data'; readonly block: number; readonly data: Uint8Array }
  | { readonly kind: 'ack'; readonly block: number }
  | { readonly kind: 'error'; readonly code: number; readonly message: string }
  | { readonly kind: 'optionAck'; readonly options: TftpOptions };

/** @throws ProtocolError code "truncated" or "bad-opcode" */
export function decodeTftpPacket(bytes: Uint8Array): TftpPacket {
  const reader = new ByteReader(bytes, 'TFTP packet');
  const opcode = reader.u16();
  switch (opcode) {
    case OPCODE.readRequest:
    case OPCODE.writeRequest:
      return {
        kind: opcode === OPCODE.readRequest ? 'readRequest' : 'writeRequest',
        fileName: reader.cString(),
        mode: reader.cString().toLowerCase(),
        options: readOptions(reader),
      };
    case OPCODE.data:
      return { kind: 'data', block: reader.u16(), data: reader.rest() };
    case OPCODE.ack:
      return { kind: 'ack', block: reader.u16() };
    case OPCODE.error:
      return { kind: 'error', code: reader.u16(), message: reader.cString() };
    case OPCODE.optionAck:
      return { kind: 'optionAck', options: readOptions(reader) };
    default:
      throw new ProtocolError(`there is no TFTP opcode ${opcode}`, {
        code: 'bad-opcode',
        got: opcode,
        limit: '1 to 6',
        rfc: 'RFC 1350 §5',
      });
  }
}

/** Each name once: RFC 2347 §2 forbids repetitions, so the first one counts. */
function readOptions(reader: ByteReader): TftpOptions {
  const options = new Map<string, string>();
  while (reader.remaining > 0) {
    const name = reader.cString().toLowerCase();
    const value = reader.cString();
    if (!options.has(name)) options.set(name, value);
  }
  return options;
}

export function encodeTftpPacket(packet: TftpPacket): Uint8Array {
  switch (packet.kind) {
    case 'readRequest':
    case 'writeRequest': {
      const writer = new ByteWriter().u16(OPCODE[packet.kind]).cString(packet.fileName).cString(packet.mode);
      return writeOptions(writer, packet.options);
    }
    case 'data':
      return new ByteWriter(4 + packet.data.length)
        .u16(OPCODE.data)
        .u16(packet.block)
        .bytes(packet.data)
        .finish();
    case 'ack':
      return new ByteWriter(4).u16(OPCODE.ack).u16(packet.block).finish();
    case 'error':
      return new ByteWriter(64).u16(OPCODE.error).u16(packet.code).cString(packet.message).finish();
    case 'optionAck':
      return writeOptions(new ByteWriter(64).u16(OPCODE.optionAck), packet.options);
  }
}

function writeOptions(writer: ByteWriter, options: TftpOptions): Uint8Array {
  for (const [name, value] of options) writer.cString(name).cString(value);
  return writer.finish();
}
