import { createHash } from 'node:crypto';
import { MAX_RECORD_PAYLOAD_BYTES } from './limits.ts';
import type { Snapshot, SnapshotMetadata } from './raft/index.ts';

/** What is being received, and where it is kept until it is whole. */
export interface SpooledSnapshot {
  readonly metadata: SnapshotMetadata;
  readonly totalBytes: number;
  readonly sha256: Uint8Array;
}

/** A stretch of a snapshot's content, as kept on disk. */
export interface SnapshotPart extends SpooledSnapshot {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/** The parts of one snapshot that have come so far, without gaps from the beginning. */
export class SnapshotSpool {
  readonly snapshot: SpooledSnapshot;
  /** Number of the record that holds the first part; undefined: they are in memory only. */
  readonly firstRecord: number | undefined;
  readonly #parts: Uint8Array[] = [];
  #filledBytes = 0;

  constructor(snapshot: SpooledSnapshot, firstRecord: number | undefined) {
    this.snapshot = snapshot;
    this.firstRecord = firstRecord;
  }

  get filledBytes(): number {
    return this.#filledBytes;
  }

  get isWhole(): boolean {
    return this.#filledBytes === this.snapshot.totalBytes;
  }

  isOf({ metadata, totalBytes, sha256 }: SpooledSnapshot): boolean {
    const own = this.snapshot;
    return (
      own.metadata.index === metadata.index &&
      own.metadata.term === metadata.term &&
      own.totalBytes === totalBytes &&
      Buffer.compare(own.sha256, sha256) === 0
    );
  }

  /** Whether a part that begins there goes on where the last one ended. */
  takes(offsetBytes: number, lengthBytes: number): boolean {
    const { totalBytes } = this.snapshot;
    return offsetBytes === this.#filledBytes && offsetBytes + lengthBytes <= totalBytes;
  }

  add(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#filledBytes += bytes.length;
  }

  /** Everything that has come, whether it is right or not. */
  content(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

export function sha256Of(content: Uint8Array): Uint8Array {
  return createHash('sha256').update(content).digest();
}

/** Cuts a snapshot that is whole into parts that fit a record each. */
export function inParts({ metadata, data }: Snapshot): SnapshotPart[] {
  const whole = { metadata, totalBytes: data.length, sha256: sha256Of(data) };
  const parts: SnapshotPart[] = [];
  for (let offsetBytes = 0; offsetBytes < data.length; offsetBytes += MAX_RECORD_PAYLOAD_BYTES) {
    const bytes = data.subarray(offsetBytes, offsetBytes + MAX_RECORD_PAYLOAD_BYTES);
    parts.push({ ...whole, offsetBytes, bytes });
  }
  return parts;
}
