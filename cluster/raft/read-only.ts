import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { type JointVoters, jointCommitted } from './quorum.ts';
import type { Message } from './types.ts';

export interface ReadRequest {
  readonly request: Message;
  /** The commit index when the request came: what the reader must have applied. */
  readonly index: number;
}

const CONTEXT_BYTES = 8;

/**
 * Reads that wait until a quorum confirms this node still leads (Raft dissertation §6.4).
 *
 * Reads are numbered from 1 within a term of leadership. A heartbeat carries the number of the newest read;
 * its answer confirms every read up to there. So the confirmed reads are what a quorum has acknowledged,
 * by the arithmetic of the commit index, and a late answer can never confirm a later read.
 */
export class PendingReads {
  #waiting: ReadRequest[] = [];
  #confirmed = 0;
  readonly #acks = new Map<number, number>();

  get count(): number {
    return this.#waiting.length;
  }

  add(request: Message, index: number): void {
    this.#waiting.push({ request, index });
  }

  /** What a heartbeat must carry; undefined when no read waits. */
  heartbeatContext(): Uint8Array | undefined {
    if (this.#waiting.length === 0) return undefined;
    return new ByteWriter(CONTEXT_BYTES).u64(BigInt(this.#newest)).finish();
  }

  get #newest(): number {
    return this.#confirmed + this.#waiting.length;
  }

  acknowledge(from: number, context: Uint8Array): void {
    if (context.length !== CONTEXT_BYTES) return;
    // A number never given out is no acknowledgement.
    const upTo = Math.min(Number(new ByteReader(context, 'read context').u64()), this.#newest);
    this.#acks.set(from, Math.max(this.#acks.get(from) ?? 0, upTo));
  }

  /** Takes out the reads that a quorum has confirmed. */
  takeConfirmed(voters: JointVoters): readonly ReadRequest[] {
    const confirmed = Math.min(
      jointCommitted(voters, (id) => this.#acks.get(id)),
      this.#newest,
    );
    if (confirmed <= this.#confirmed) return [];
    const taken = this.#waiting.splice(0, confirmed - this.#confirmed);
    this.#confirmed = confirmed;
    return taken;
  }
}
