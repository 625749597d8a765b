import { type Allocation, type BlockDevice, LOGICAL_BLOCK_BYTES } from '../../../../storage/block-device.ts';

/** A disk in memory that can be made to fail or to wait. */
export class MemoryDevice implements BlockDevice {
  readonly lengthBlocks: number;
  writeCacheEnabled = true;
  readOnly = false;
  spaceIsLow = false;
  readonly bytes: Uint8Array;
  readonly calls = { reads: 0, writes: 0, flushes: 0, forced: 0, discards: 0 };
  serverState: Uint8Array | undefined;
  /** By stored block of 4 KiB, whether it was given up and not written since. */
  readonly #discarded: Uint8Array;
  /** Thrown by the next calls when set. */
  failure: Error | undefined;
  /** Awaited by each write before it changes anything. */
  gate: Promise<void> | undefined;

  constructor(lengthBlocks: number) {
    this.lengthBlocks = lengthBlocks;
    this.bytes = new Uint8Array(lengthBlocks * LOGICAL_BLOCK_BYTES);
    this.#discarded = new Uint8Array(Math.ceil(lengthBlocks / 8));
  }

  /** Makes writes wait until the returned function is called. */
  holdWrites(): () => void {
    let open = (): void => {};
    this.gate = new Promise((resolve) => {
      open = resolve;
    });
    return () => {
      this.gate = undefined;
      open();
    };
  }

  async read(lba: number, lengthBlocks: number): Promise<readonly Uint8Array[]> {
    this.calls.reads++;
    if (this.failure !== undefined) throw this.failure;
    // A copy, since what was handed out must not change by later writes.
    return [this.bytes.slice(lba * LOGICAL_BLOCK_BYTES, (lba + lengthBlocks) * LOGICAL_BLOCK_BYTES)];
  }

  async write(
    lba: number,
    parts: readonly Uint8Array[],
    options: { forceUnitAccess: boolean },
  ): Promise<void> {
    this.calls.writes++;
    if (options.forceUnitAccess) this.calls.forced++;
    if (this.gate !== undefined) await this.gate;
    if (this.failure !== undefined) throw this.failure;
    let at = lba * LOGICAL_BLOCK_BYTES;
    for (const part of parts) {
      this.bytes.set(part, at);
      at += part.length;
    }
    this.#discarded.fill(0, Math.floor(lba / 8), Math.ceil(at / LOGICAL_BLOCK_BYTES / 8));
  }

  async flush(): Promise<void> {
    this.calls.flushes++;
    if (this.failure !== undefined) throw this.failure;
  }

  async discard(lba: number, lengthBlocks: number): Promise<void> {
    this.calls.discards++;
    if (this.gate !== undefined) await this.gate;
    if (this.failure !== undefined) throw this.failure;
    const end = lba + lengthBlocks;
    this.bytes.fill(0, lba * LOGICAL_BLOCK_BYTES, end * LOGICAL_BLOCK_BYTES);
    const wholeEnd = end === this.lengthBlocks ? Math.ceil(end / 8) : Math.floor(end / 8);
    for (let block = Math.ceil(lba / 8); block < wholeEnd; block++) this.#discarded[block] = 1;
  }

  async allocation(lba: number): Promise<Allocation> {
    if (this.failure !== undefined) throw this.failure;
    const discarded = this.#discarded[Math.floor(lba / 8)];
    let block = Math.floor(lba / 8) + 1;
    while (block * 8 < this.lengthBlocks && this.#discarded[block] === discarded) block++;
    return { allocated: discarded !== 1, lengthBlocks: Math.min(block * 8, this.lengthBlocks) - lba };
  }

  async saveServerState(state: Uint8Array): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    this.serverState = state;
  }
}
