import { ProtocolError } from '../../base/errors.ts';
import { serialAdd } from '../../base/serial-number.ts';
import type { DataMemory } from './data-memory.ts';
import { RESERVED_TAG } from './opcode.ts';

/** One range of data the target asks for. */
export interface DataRequest {
  readonly bufferOffset: number;
  readonly lengthBytes: number;
  readonly r2tSN: number;
}

/** A LUN as it stands in a header. */
export interface LunField {
  readonly lunHigh: number;
  readonly lunLow: number;
}

export interface DataOutFields extends LunField {
  readonly final: boolean;
  readonly targetTransferTag: number;
  readonly dataSN: number;
  readonly bufferOffset: number;
}

export interface TransferTerms {
  readonly maxBurstBytes: number;
  readonly firstBurstBytes: number;
  readonly initialR2T: boolean;
  readonly immediateData: boolean;
}

/**
 * Gathers the data of one write (RFC 7143 §11.7, §11.8): immediate data, then unsolicited Data-Out PDUs up to
 * FirstBurstLength, then bursts asked for by R2T, one at a time. Data comes strictly in order. Once any of it breaks the
 * rules none of it is of use; what is still to come comes all the same.
 */
export class WriteTransfer {
  readonly #terms: TransferTerms;
  readonly #expectedBytes: number;
  readonly #neededBytes: number;
  readonly #parts: Uint8Array[] = [];
  /** So many of them, from the first, are copies. */
  #keptParts = 0;
  #receivedBytes = 0;
  #phase: 'unsolicited' | 'idle' | 'solicited';
  #burstEnd: number;
  #targetTransferTag = RESERVED_TAG;
  #nextDataSN = 0;
  #nextR2tSN = 0;
  #failure: ProtocolError | undefined;

  /**
   * @param expectedBytes Expected Data Transfer Length of the command: what the initiator would send
   * @param neededBytes what the command needs of it; no more is asked for
   * @param final the F bit of the command: no unsolicited Data-Out will follow
   */
  constructor(expectedBytes: number, neededBytes: number, final: boolean, terms: TransferTerms) {
    this.#terms = terms;
    this.#expectedBytes = expectedBytes;
    this.#neededBytes = Math.min(neededBytes, expectedBytes);
    this.#phase = final ? 'idle' : 'unsolicited';
    this.#burstEnd = Math.min(expectedBytes, terms.firstBurstBytes);
  }

  get complete(): boolean {
    return this.#phase === 'idle' && this.#receivedBytes >= this.#neededBytes;
  }

  /** Whether more is to come: of what was announced, or of what was asked for. */
  get isOpen(): boolean {
    return this.#phase !== 'idle';
  }

  /**
   * The first breach of a rule; code "unexpected-unsolicited-data", "unexpected-data", "too-much-data", "short-burst",
   * "bad-data-sn", "bad-buffer-offset" or "other-lun".
   */
  get failure(): ProtocolError | undefined {
    return this.#failure;
  }

  /** The needed data, without whatever came beyond it. */
  neededParts(): readonly Uint8Array[] {
    if (this.#receivedBytes === this.#neededBytes) return this.#parts;
    const out: Uint8Array[] = [];
    let left = this.#neededBytes;
    for (const part of this.#parts) {
      if (left <= 0) break;
      out.push(part.subarray(0, left));
      left -= part.length;
    }
    return out;
  }

  /** Copies what has come so far, so that the chunks it came in are no longer needed. */
  keep(memory: DataMemory): void {
    for (; this.#keptParts < this.#parts.length; this.#keptParts++) {
      this.#parts[this.#keptParts] = memory.copyOf(this.#parts[this.#keptParts] as Uint8Array);
    }
  }

  /** Gives the copies back: nobody looks at the data any more, and none is to be asked for. */
  letGo(memory: DataMemory): void {
    if (this.#keptParts === 0) return;
    memory.giveBack(this.#parts.slice(0, this.#keptParts));
    this.#parts.length = 0;
    this.#keptParts = 0;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  acceptImmediate(data: readonly Uint8Array[], lengthBytes: number): void {
    if (!this.#terms.immediateData && lengthBytes > 0) {
      this.#fail(
        'unexpected-unsolicited-data',
        'immediate data came although it was not agreed',
        lengthBytes,
        0,
      );
    } else if (this.#phase === 'unsolicited' && this.#terms.initialR2T) {
      this.#fail('unexpected-unsolicited-data', 'the F bit is clear although InitialR2T=Yes', 0, 1);
    } else {
      this.#append(data, lengthBytes);
    }
  }

  /** @param of the LUN of the command */
  accept(fields: DataOutFields, data: readonly Uint8Array[], lengthBytes: number, of: LunField): void {
    const tag = this.#phase === 'solicited' ? this.#targetTransferTag : RESERVED_TAG;
    const isExpected = this.#phase !== 'idle' && fields.targetTransferTag === tag;
    if (this.#failure === undefined) {
      if (isExpected) this.#take(fields, data, lengthBytes, of);
      else {
        this.#fail(
          'unexpected-data',
          'Data-Out for a transfer that is not open',
          fields.targetTransferTag,
          tag,
        );
      }
    }
    if (!fields.final || !isExpected) return;
    if (this.#failure === undefined) this.#checkBurst();
    this.#phase = 'idle';
  }

  #take(fields: DataOutFields, data: readonly Uint8Array[], lengthBytes: number, of: LunField): void {
    const { dataSN, bufferOffset, lunHigh, lunLow } = fields;
    // Without a transfer tag the field is reserved (§11.7.4).
    const hasLun = this.#phase === 'solicited';
    if (hasLun && (lunHigh !== of.lunHigh || lunLow !== of.lunLow)) {
      this.#fail('other-lun', 'Data-Out for another LUN than its command', lunHigh, of.lunHigh);
    } else if (dataSN !== this.#nextDataSN) {
      this.#fail('bad-data-sn', 'DataSN out of order', dataSN, this.#nextDataSN);
    } else if (bufferOffset !== this.#receivedBytes) {
      this.#fail('bad-buffer-offset', 'Buffer Offset out of order', bufferOffset, this.#receivedBytes);
    } else {
      this.#nextDataSN = serialAdd(this.#nextDataSN, 1);
      this.#append(data, lengthBytes);
    }
  }

  /** What was asked for has to come as a whole; what comes unasked too, where there is more than FirstBurstLength (§11.4.7.2). */
  #checkBurst(): void {
    const mayBeShort = this.#phase === 'unsolicited' && this.#expectedBytes <= this.#terms.firstBurstBytes;
    if (mayBeShort || this.#receivedBytes === this.#burstEnd) return;
    this.#fail('short-burst', 'a burst ended early', this.#receivedBytes, this.#burstEnd);
  }

  /** Opens the next burst; call only when no phase is open and data is missing. */
  request(targetTransferTag: number): DataRequest {
    const bufferOffset = this.#receivedBytes;
    const lengthBytes = Math.min(this.#neededBytes - bufferOffset, this.#terms.maxBurstBytes);
    this.#phase = 'solicited';
    this.#burstEnd = bufferOffset + lengthBytes;
    this.#targetTransferTag = targetTransferTag;
    this.#nextDataSN = 0;
    return { bufferOffset, lengthBytes, r2tSN: this.#nextR2tSN++ };
  }

  #append(data: readonly Uint8Array[], lengthBytes: number): void {
    const gotBytes = this.#receivedBytes + lengthBytes;
    if (gotBytes > this.#burstEnd) {
      this.#fail('too-much-data', 'more data came than was agreed or asked for', gotBytes, this.#burstEnd);
      return;
    }
    for (const part of data) this.#parts.push(part);
    this.#receivedBytes = gotBytes;
  }

  #fail(code: string, message: string, got: number, limit: number): void {
    this.#failure = new ProtocolError(message, { code, got, limit, rfc: 'RFC 7143 §11.7' });
  }
}
