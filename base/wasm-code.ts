/**
 * A WebAssembly module put together from instructions (WebAssembly Core Specification 2.0, chapter 5 for the bytes): as
 * much of it as is used here. For the few loops that a processor's vector instructions make several times as fast.
 */

/** Bytes of instructions, or of a part of a module. */
export type WasmCode = readonly number[];

export const i32Add: WasmCode = [0x6a];
export const i32And: WasmCode = [0x71];
export const i32Xor: WasmCode = [0x73];
export const i32Shl: WasmCode = [0x74];
/** Zeros come in from above. */
export const i32ShrU: WasmCode = [0x76];
export const i32LtU: WasmCode = [0x49];
export const v128Xor: WasmCode = [0xfd, 0x51];

/** Parameters count as the first locals. */
export const localGet = (local: number): WasmCode => [0x20, ...unsigned(local)];
export const localSet = (local: number): WasmCode => [0x21, ...unsigned(local)];
export const i32Const = (value: number): WasmCode => [0x41, ...signed(value)];
/** @param bytes 16 */
export const v128Const = (bytes: readonly number[]): WasmCode => [0xfd, 0x0c, ...bytes];

/** Loads and stores are at any address; `offset` is added to the one on the stack. */
export const i32Load = (offset: number): WasmCode => [0x28, 0, ...unsigned(offset)];
export const i32Store = (offset: number): WasmCode => [0x36, 0, ...unsigned(offset)];
export const v128Load = (offset: number): WasmCode => [0xfd, 0x00, 0, ...unsigned(offset)];
export const v128Store = (offset: number): WasmCode => [0xfd, 0x0b, 0, ...unsigned(offset)];

/** @param body leaves on the stack whether to do it again */
export const repeatWhile = (...body: readonly WasmCode[]): WasmCode => [
  ...[0x03, 0x40],
  ...body.flat(),
  ...[0x0d, 0x00, 0x0b],
];

export interface WasmFunction {
  readonly name: string;
  /** All of them are 32-bit integers, as the other locals are; there is no result. */
  readonly parameterCount: number;
  readonly localCount: number;
  readonly code: WasmCode;
}

/** As much of the runtime's own interface as is used; its types do not know of it. */
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Record<string, object>,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
  readonly CompileError: new () => Error;
};

const I32 = 0x7f;
const PAGE_BYTES = 65_536;

export interface LoadedWasm {
  readonly memory: ArrayBuffer;
  readonly run: (...parameters: readonly number[]) => void;
}

/**
 * @param memoryBytes at least so many, which stay where they are
 * @returns undefined where the processor lacks instructions for it, or the process may not have so many addresses
 */
export function loadWasm(made: WasmFunction, memoryBytes: number): LoadedWasm | undefined {
  const pages = Math.ceil(memoryBytes / PAGE_BYTES);
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const module = new WebAssembly.Module(wasmModule(made, pages));
    const { exports } = new WebAssembly.Instance(module, { host: { memory } });
    return { memory: memory.buffer, run: exports[made.name] as LoadedWasm['run'] };
  } catch (error) {
    if (error instanceof WebAssembly.CompileError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** A module of one function. It imports its memory, of so many pages for ever, as "host" "memory". */
function wasmModule({ name, parameterCount, localCount, code }: WasmFunction, pages: number): Uint8Array {
  const parameters = list(Array.from({ length: parameterCount }, () => [I32]));
  const body = [...list([[...unsigned(localCount), I32]]), ...code, 0x0b];
  const memory = [0x02, 0x01, ...unsigned(pages), ...unsigned(pages)];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [[0x60, ...parameters, 0x00]]),
    ...section(2, [[...text('host'), ...text('memory'), ...memory]]),
    ...section(3, [[0x00]]),
    ...section(7, [[...text(name), 0x00, 0x00]]),
    ...section(10, [[...unsigned(body.length), ...body]]),
  ]);
}

function section(id: number, items: readonly WasmCode[]): WasmCode {
  const content = list(items);
  return [id, ...unsigned(content.length), ...content];
}

function list(items: readonly WasmCode[]): WasmCode {
  return [...unsigned(items.length), ...items.flat()];
}

function text(ascii: string): WasmCode {
  return list(Array.from(ascii, (character) => [character.charCodeAt(0)]));
}

/** LEB128. */
function unsigned(value: number): WasmCode {
  const out: number[] = [];
  let left = value;
  for (; left > 0x7f; left >>>= 7) out.push((left & 0x7f) | 0x80);
  out.push(left);
  return out;
}

/** The same in two's complement. */
function signed(value: number): WasmCode {
  const out: number[] = [];
  let left = value;
  for (; left < -0x40 || left > 0x3f; left >>= 7) out.push((left & 0x7f) | 0x80);
  out.push(left & 0x7f);
  return out;
}
