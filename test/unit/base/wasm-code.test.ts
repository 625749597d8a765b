import { describe, expect, it } from 'vitest';
import {
  i32Add,
  i32Const,
  i32Load,
  i32LtU,
  i32Store,
  loadWasm,
  localGet,
  localSet,
  repeatWhile,
} from '../../../base/wasm-code.ts';

/** Stores a constant at an address, to be read from outside. */
function storedConstant(value: number, offset: number): number {
  const code = [...i32Const(0), ...i32Const(value), ...i32Store(offset)];
  const loaded = loadWasm({ name: 'store', parameterCount: 0, localCount: 0, code }, offset + 4);
  if (loaded === undefined) throw new Error('WebAssembly is there in every Node.js');
  loaded.run();
  return new DataView(loaded.memory).getInt32(offset, true);
}

describe('wasm-code', () => {
  it('encodes numbers of every length', () => {
    const values = [0, 1, 63, 64, 127, 128, 8191, 8192, 2 ** 31 - 1, -1, -64, -65, -8192, -8193, -(2 ** 31)];
    for (const value of values) expect(storedConstant(value, 8)).toBe(value);
    for (const offset of [0, 124, 128, 16_380, 16_384, 100_000]) expect(storedConstant(77, offset)).toBe(77);
  });

  it('repeats as long as it is told to', () => {
    const [UNTIL, AT] = [0, 1];
    const code = repeatWhile(
      [...i32Const(0), ...i32Const(0), ...i32Load(0), ...localGet(AT), ...i32Add, ...i32Store(0)],
      [...localGet(AT), ...i32Const(1), ...i32Add, ...localSet(AT)],
      [...localGet(AT), ...localGet(UNTIL), ...i32LtU],
    );
    const loaded = loadWasm({ name: 'sum', parameterCount: 1, localCount: 1, code }, 4);
    loaded?.run(11);
    expect(loaded && new Uint32Array(loaded.memory)[0]).toBe(55);
  });

  it('is not there for what the runtime does not take', () => {
    const noSuchInstruction = [0xff];
    const wrong = { name: 'wrong', parameterCount: 0, localCount: 0, code: noSuchInstruction };
    expect(loadWasm(wrong, 4)).toBeUndefined();
  });
});
