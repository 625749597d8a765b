import { ByteReader, latin1 } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { ProtocolError } from '../../base/errors.ts';
import { type Ipv4, ipv4FromBytes, ipv4ToBytes } from '../../base/ipv4.ts';

/** How the bytes of one option are read and written. Decoding throws ProtocolError for a wrong length. */
export interface OptionFormat<T> {
  decode(bytes: Uint8Array): T;
  encode(value: T): Uint8Array;
}

function expectLength(bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new ProtocolError(`the option has ${bytes.length} bytes instead of ${length}`, {
      code: 'bad-option-length',
      got: bytes.length,
      limit: length,
      rfc: 'RFC 2132',
    });
  }
}

function expectItems(bytes: Uint8Array, itemBytes: number): void {
  if (bytes.length === 0 || bytes.length % itemBytes !== 0) {
    throw new ProtocolError(`the option has ${bytes.length} bytes, not a multiple of ${itemBytes}`, {
      code: 'bad-option-length',
      got: bytes.length,
      limit: itemBytes,
      rfc: 'RFC 2132',
    });
  }
}

export const u8: OptionFormat<number> = {
  decode(bytes) {
    expectLength(bytes, 1);
    return bytes[0] as number;
  },
  encode: (value) => Uint8Array.of(value),
};

export const u16: OptionFormat<number> = {
  decode(bytes) {
    expectLength(bytes, 2);
    return new ByteReader(bytes, 'option').u16();
  },
  encode: (value) => new ByteWriter(2).u16(value).finish(),
};

export const u32: OptionFormat<number> = {
  decode(bytes) {
    expectLength(bytes, 4);
    return new ByteReader(bytes, 'option').u32();
  },
  encode: (value) => new ByteWriter(4).u32(value).finish(),
};

export const u16List: OptionFormat<readonly number[]> = {
  decode(bytes) {
    expectItems(bytes, 2);
    const reader = new ByteReader(bytes, 'option');
    return Array.from({ length: bytes.length / 2 }, () => reader.u16());
  },
  encode(values) {
    const writer = new ByteWriter(values.length * 2);
    for (const value of values) writer.u16(value);
    return writer.finish();
  },
};

export const u8List: OptionFormat<readonly number[]> = {
  decode: (bytes) => Array.from(bytes),
  encode: (values) => Uint8Array.from(values),
};

export const ipv4: OptionFormat<Ipv4> = {
  decode: (bytes) => ipv4FromBytes(bytes),
  encode: (value) => ipv4ToBytes(value),
};

export const ipv4List: OptionFormat<readonly Ipv4[]> = {
  decode(bytes) {
    expectItems(bytes, 4);
    return Array.from({ length: bytes.length / 4 }, (_, i) =>
      ipv4FromBytes(bytes.subarray(i * 4, i * 4 + 4)),
    );
  },
  encode: (values) => Uint8Array.from(values.flatMap((value) => Array.from(ipv4ToBytes(value)))),
};

/** Text, one byte a character. Some clients end it with a NUL, which RFC 2132 §2 asks receivers to trim. */
export const text: OptionFormat<string> = {
  decode: (bytes) => latin1(bytes).replace(/\0+$/, ''),
  encode: (value) => Buffer.from(value, 'latin1'),
};

export const opaque: OptionFormat<Uint8Array> = {
  decode: (bytes) => bytes,
  encode: (value) => value,
};

/**
 * Options within an option: code, length, value. Pad (0) and End (255) are as in the outer field
 * (RFC 2132 §8.4 for option 43; iPXE does the same in its option 175).
 */
export const encapsulated: OptionFormat<ReadonlyMap<number, Uint8Array>> = {
  decode(bytes) {
    const reader = new ByteReader(bytes, 'encapsulated options');
    const found = new Map<number, Uint8Array>();
    while (reader.remaining > 0) {
      const code = reader.u8();
      if (code === 0) continue;
      if (code === 255) break;
      found.set(code, reader.bytes(reader.u8()));
    }
    return found;
  },
  encode(values) {
    const writer = new ByteWriter();
    for (const [code, value] of values) writer.u8(code).u8(value.length).bytes(value);
    return writer.u8(255).finish();
  },
};

/**
 * User class (77) as RFC 3004 §4 has it, each class preceded by its length, or as PXE ROMs and iPXE send it,
 * one bare text. Taken for the former only when the lengths add up exactly.
 */
export const userClass: OptionFormat<readonly string[]> = {
  decode(bytes) {
    const classes: string[] = [];
    let at = 0;
    while (at < bytes.length) {
      const length = bytes[at] as number;
      if (length === 0 || at + 1 + length > bytes.length) return [text.decode(bytes)];
      classes.push(latin1(bytes.subarray(at + 1, at + 1 + length)));
      at += 1 + length;
    }
    return classes;
  },
  encode(classes) {
    const writer = new ByteWriter();
    for (const name of classes) writer.u8(name.length).latin1(name);
    return writer.finish();
  },
};

/** Client network interface identifier (94): the UNDI version (RFC 4578 §2.2). */
export const networkInterface: OptionFormat<{ type: number; major: number; minor: number }> = {
  decode(bytes) {
    expectLength(bytes, 3);
    return { type: bytes[0] as number, major: bytes[1] as number, minor: bytes[2] as number };
  },
  encode: ({ type, major, minor }) => Uint8Array.of(type, major, minor),
};

/** Client machine identifier (97): type 0 and a UUID of 16 bytes (RFC 4578 §2.3); some ROMs send all zeros. */
export const machineIdentifier: OptionFormat<{ type: number; identifier: Uint8Array }> = {
  decode(bytes) {
    const reader = new ByteReader(bytes, 'client machine identifier');
    return { type: reader.u8(), identifier: reader.rest() };
  },
  encode: ({ type, identifier }) => Uint8Array.of(type, ...identifier),
};
