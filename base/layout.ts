import { invariant, ProtocolError } from './errors.ts';

/**
 * Fixed-size big-endian headers, declared once:
 *
 *     const timeHeader = layout('time header', 8, { seconds: u32(0), valid: bit(4, 7), zone: bits(4, 0, 6) });
 *     timeHeader.decode(bytes).seconds
 *
 * A declaration derives the TypeScript type, a decoder and an encoder. Both are compiled to straight-line
 * code when the layout is made, since interpreting descriptors costs about five times as much per header.
 */

export interface Field<T> {
  readonly kind: 'u8' | 'u16' | 'u24' | 'u32' | 'u64' | 'bit' | 'bits' | 'bytes';
  readonly offset: number;
  /** bytes: how many; bits: width in bits. */
  readonly width: number;
  /** bit, bits: position of the lowest bit, 0 being the least significant of the byte. */
  readonly shift: number;
  /** Only carries the type. */
  readonly value?: T;
}

export const u8 = (offset: number): Field<number> => ({ kind: 'u8', offset, width: 1, shift: 0 });
export const u16 = (offset: number): Field<number> => ({ kind: 'u16', offset, width: 2, shift: 0 });
export const u24 = (offset: number): Field<number> => ({ kind: 'u24', offset, width: 3, shift: 0 });
export const u32 = (offset: number): Field<number> => ({ kind: 'u32', offset, width: 4, shift: 0 });
export const u64 = (offset: number): Field<bigint> => ({ kind: 'u64', offset, width: 8, shift: 0 });
/** One bit of a byte as a boolean; `position` 7 is the most significant. */
export const bit = (offset: number, position: number): Field<boolean> => ({
  kind: 'bit',
  offset,
  width: 1,
  shift: position,
});
/** Some bits of one byte as a number; `shift` is the position of the lowest. */
export const bits = (offset: number, shift: number, width: number): Field<number> => ({
  kind: 'bits',
  offset,
  width,
  shift,
});
/** A byte string; decoded as a view of the input. */
export const bytes = (offset: number, length: number): Field<Uint8Array> => ({
  kind: 'bytes',
  offset,
  width: length,
  shift: 0,
});

type Fields = Readonly<Record<string, Field<unknown>>>;
export type LayoutValue<F extends Fields> = {
  -readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};

export interface Layout<V> {
  readonly sizeBytes: number;
  /** @throws ProtocolError code "truncated" when fewer than sizeBytes bytes follow `at` */
  decode(input: Uint8Array, at?: number): V;
  /** Writes into `output` (zeroed first) or into a new buffer, which it returns. */
  encode(value: Partial<V>, output?: Uint8Array, at?: number): Uint8Array;
}

export function layout<const F extends Fields>(
  what: string,
  sizeBytes: number,
  fields: F,
): Layout<LayoutValue<F>> {
  type V = LayoutValue<F>;
  const entries = Object.entries(fields);
  for (const [name, field] of entries) {
    invariant(/^[A-Za-z][A-Za-z0-9]*$/.test(name), `${what}: field name ${name}`);
    const width = field.kind === 'bit' || field.kind === 'bits' ? 1 : field.width;
    invariant(field.offset >= 0 && field.offset + width <= sizeBytes, `${what}.${name} lies outside`);
  }
  // The sources below hold only names and numbers checked above; no input reaches them.
  const decodeBody = `return {${entries.map(([n, f]) => `${n}: ${readExpression(f)}`).join(', ')}};`;
  const encodeBody = entries.map(([n, f]) => writeStatement(n, f)).join('\n');
  // oxlint-disable-next-line no-new-func, typescript/no-implied-eval
  const decodeCompiled = new Function('b', 'o', decodeBody) as (b: Uint8Array, o: number) => V;
  // oxlint-disable-next-line no-new-func, typescript/no-implied-eval
  const encodeCompiled = new Function('v', 'b', 'o', encodeBody) as (
    v: Partial<V>,
    b: Uint8Array,
    o: number,
  ) => void;
  return {
    sizeBytes,
    decode(input, at = 0) {
      if (input.length - at < sizeBytes) {
        throw new ProtocolError(`${what} needs ${sizeBytes} bytes, got ${input.length - at}`, {
          code: 'truncated',
          got: input.length - at,
          limit: sizeBytes,
        });
      }
      return decodeCompiled(input, at);
    },
    encode(value, output = new Uint8Array(sizeBytes), at = 0) {
      // A Buffer's own fill looks at its arguments for longer than this takes.
      Uint8Array.prototype.fill.call(output, 0, at, at + sizeBytes);
      encodeCompiled(value, output, at);
      return output;
    },
  };
}

function readExpression(field: Field<unknown>): string {
  const at = (i: number): string => `b[o + ${field.offset + i}]`;
  const u32At = (i: number): string =>
    `((${at(i)} << 24 | ${at(i + 1)} << 16 | ${at(i + 2)} << 8 | ${at(i + 3)}) >>> 0)`;
  switch (field.kind) {
    case 'u8':
      return at(0);
    case 'u16':
      return `(${at(0)} << 8 | ${at(1)})`;
    case 'u24':
      return `(${at(0)} << 16 | ${at(1)} << 8 | ${at(2)})`;
    case 'u32':
      return u32At(0);
    case 'u64':
      return `(BigInt(${u32At(0)}) << 32n | BigInt(${u32At(4)}))`;
    case 'bit':
      return `(${at(0)} >> ${field.shift} & 1) === 1`;
    case 'bits':
      return `(${at(0)} >> ${field.shift} & ${(1 << field.width) - 1})`;
    case 'bytes':
      return `b.subarray(o + ${field.offset}, o + ${field.offset + field.width})`;
  }
}

function writeStatement(name: string, field: Field<unknown>): string {
  const at = (i: number): string => `b[o + ${field.offset + i}]`;
  const value = `v.${name}`;
  const big = (i: number, from: string): string =>
    [24, 16, 8, 0].map((shift, k) => `${at(i + k)} = ${from} >>> ${shift};`).join(' ');
  const body = (): string => {
    switch (field.kind) {
      case 'u8':
        return `${at(0)} = ${value};`;
      case 'u16':
        return `${at(0)} = ${value} >>> 8; ${at(1)} = ${value};`;
      case 'u24':
        return `${at(0)} = ${value} >>> 16; ${at(1)} = ${value} >>> 8; ${at(2)} = ${value};`;
      case 'u32':
        return big(0, value);
      case 'u64':
        return (
          `const hi = Number(${value} >> 32n & 0xffffffffn), lo = Number(${value} & 0xffffffffn); ` +
          `${big(0, 'hi')} ${big(4, 'lo')}`
        );
      case 'bit':
        return `if (${value}) ${at(0)} |= ${1 << field.shift};`;
      case 'bits':
        return `${at(0)} |= (${value} & ${(1 << field.width) - 1}) << ${field.shift};`;
      case 'bytes':
        return `b.set(${value}.subarray(0, ${field.width}), o + ${field.offset});`;
    }
  };
  return `if (${value} !== undefined) { ${body()} }`;
}
