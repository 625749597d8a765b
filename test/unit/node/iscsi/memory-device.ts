import { type BlockDevice, LOGICAL_BLOCK_BYTES } from '../../../../storage/block-device.ts';

/** A disk in memory that can be made to fail or to wait. */
export class MemoryDevice implements BlockDevice {
  readonly lengthBlocks: number;
  writeCacheEnabled = true;
  readOnly = false;
  readonly bytes: Uint8Array;
  readonly calls = { reads: 0, writes: 0, flushes: 0, forced: 0 };
  /** Thrown by the next calls when set. */
  failure: Error | undefined;
  /** Awaited by each write before it changes anything. */
  gate: Promise<void> | undefined;

  constructor(lengthBlocks: number) {
    this.lengthBlocks = lengthBlocks;
    this.bytes = new Uint8Array(lengthBlocks * LOGICAL_BLOCK_BYTES);
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
  }

  async flush(): Promise<void> {
    this.calls.flushes++;
    if (this.failure !== undefined) throw this.failure;
  }
}
