import { FAIR_FLOOR_BYTES, FAIR_TURN_BYTES, MAX_IN_FLIGHT_BYTES, PIPELINE_BYTES } from './limits.ts';

interface Waiter {
  readonly lengthBytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** One LUN, and with it the machine that writes to it. */
interface Writer {
  readonly lunId: number;
  inFlightBytes: number;
  waiting: Waiter[];
  head: number;
  /** What it may have let in before its turn is over. */
  turnBytes: number;
}

/**
 * Lets writes into the log of a group. What is in the log and not yet committed is what every later write waits for,
 * whoever sent it, so there is no more of it than keeps disks and links busy. Above that the LUNs take turns, each by as
 * many bytes; and one that has little in flight waits for nobody's turn.
 */
export class FairAdmission {
  readonly #writers = new Map<number, Writer>();
  /** Writers with something waiting; the first one's turn is now. */
  #turns: Writer[] = [];
  #inFlightBytes = 0;

  /** @returns undefined when there is room now; those of one LUN are let in in order */
  admit(lunId: number, lengthBytes: number): Promise<void> | undefined {
    if (this.admitsNow(lunId, lengthBytes)) return undefined;
    return new Promise((resolve, reject) => {
      const own = this.#writer(lunId);
      if (own.waiting.length === own.head) this.#turns.push(own);
      own.waiting.push({ lengthBytes, resolve, reject });
    });
  }

  admitsNow(lunId: number, lengthBytes: number): boolean {
    const writer = this.#writers.get(lunId);
    if (writer !== undefined && writer.waiting.length > writer.head) return false;
    return this.#hasRoom() || this.#isLight(writer?.inFlightBytes ?? 0, lengthBytes);
  }

  #hasRoom(): boolean {
    return this.#turns.length === 0 && this.#inFlightBytes < PIPELINE_BYTES;
  }

  /** So little that it costs the others nothing to speak of; together such writers are bounded all the same. */
  #isLight(inFlightBytes: number, lengthBytes: number): boolean {
    const isLittle = inFlightBytes === 0 || inFlightBytes + lengthBytes <= FAIR_FLOOR_BYTES;
    return isLittle && this.#inFlightBytes < MAX_IN_FLIGHT_BYTES;
  }

  #writer(lunId: number): Writer {
    let writer = this.#writers.get(lunId);
    if (writer === undefined) {
      writer = { lunId, inFlightBytes: 0, waiting: [], head: 0, turnBytes: 0 };
      this.#writers.set(lunId, writer);
    }
    return writer;
  }

  /** A write has been given its place. */
  began(lunId: number, lengthBytes: number): void {
    this.#inFlightBytes += lengthBytes;
    this.#writer(lunId).inFlightBytes += lengthBytes;
  }

  /** It is committed, or never will be. To be followed by letIn. */
  ended(lunId: number, lengthBytes: number): void {
    this.#inFlightBytes -= lengthBytes;
    const writer = this.#writers.get(lunId);
    if (writer === undefined) return;
    writer.inFlightBytes -= lengthBytes;
    if (writer.inFlightBytes === 0 && writer.waiting.length === writer.head) this.#writers.delete(lunId);
  }

  /** Lets in whoever there is room for. */
  letIn(): void {
    // Those let in count from when they are added, a little later; the bound is exceeded by these few at most.
    let roomBytes = PIPELINE_BYTES - this.#inFlightBytes;
    while (roomBytes > 0) {
      const writer = this.#turns[0];
      if (writer === undefined) return;
      const next = writer.waiting[writer.head] as Waiter;
      if (writer.turnBytes < next.lengthBytes) {
        // Its turn is over, or it saves up for a long write.
        writer.turnBytes += FAIR_TURN_BYTES;
        this.#turns.push(this.#turns.shift() as Writer);
        continue;
      }
      writer.turnBytes -= next.lengthBytes;
      roomBytes -= Math.max(1, next.lengthBytes);
      this.#take(writer);
    }
  }

  #take(writer: Writer): void {
    const { resolve } = writer.waiting[writer.head++] as Waiter;
    if (writer.head === writer.waiting.length) {
      writer.waiting = [];
      writer.head = 0;
      writer.turnBytes = 0;
      this.#turns = this.#turns.filter((other) => other !== writer);
    }
    resolve();
  }

  /** Nobody is let in any more of those that wait. */
  failAll(error: () => Error): void {
    const waiting = this.#turns.flatMap((writer) => writer.waiting.slice(writer.head));
    this.#turns = [];
    this.#writers.clear();
    this.#inFlightBytes = 0;
    for (const { reject } of waiting) reject(error());
  }
}
