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

export interface DataOutFields {
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
 * FirstBurstLength, then bursts asked for by R2T, one at a time. Data comes strictly in order.
 */
export class WriteTransfer {
  readonly #terms: TransferTerms;
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

  /**
   * @param expectedBytes Expected Data Transfer Length of the command: what the initiator would send
   * @param neededBytes what the command needs of it; no more is asked for
   * @param final the F bit of the command: no unsolicited Data-Out will follow
   */
  constructor(expectedBytes: number, neededBytes: number, final: boolean, terms: TransferTerms) {
    this.#terms = terms;
    this.#neededBytes = Math.min(neededBytes, expectedBytes);
    this.#phase = final ? 'idle' : 'unsolicited';
    this.#burstEnd = Math.min(expectedBytes, terms.firstBurstBytes);
  }

  get complete(): boolean {
    return this.#phase === 'idle' && this.#receivedBytes >= this.#neededBytes;
  }

  get awaitsUnsolicited(): boolean {
    return this.#phase === 'unsolicited';
  }

  get awaitsSolicited(): boolean {
    return this.#phase === 'solicited';
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

  /** @throws ProtocolError code "unexpected-unsolicited-data" or "too-much-data" */
  acceptImmediate(data: readonly Uint8Array[], lengthBytes: number): void {
    if (!this.#terms.immediateData && lengthBytes > 0) {
      throw violation(
        'unexpected-unsolicited-data',
        'immediate data came although it was not agreed',
        lengthBytes,
        0,
      );
    }
    if (this.#phase === 'unsolicited' && this.#terms.initialR2T) {
      throw violation('unexpected-unsolicited-data', 'the F bit is clear although InitialR2T=Yes', 0, 1);
    }
    this.#append(data, lengthBytes);
  }

  /** @throws ProtocolError when the PDU is not the one that has to come next */
  accept(fields: DataOutFields, data: readonly Uint8Array[], lengthBytes: number): void {
    const tag = this.#phase === 'solicited' ? this.#targetTransferTag : RESERVED_TAG;
    if (this.#phase === 'idle' || fields.targetTransferTag !== tag) {
      throw violation(
        'unexpected-data',
        'Data-Out for a transfer that is not open',
        fields.targetTransferTag,
        tag,
      );
    }
    if (fields.dataSN !== this.#nextDataSN) {
      throw violation('bad-data-sn', 'DataSN out of order', fields.dataSN, this.#nextDataSN);
    }
    if (fields.bufferOffset !== this.#receivedBytes) {
      throw violation(
        'bad-buffer-offset',
        'Buffer Offset out of order',
        fields.bufferOffset,
        this.#receivedBytes,
      );
    }
    this.#nextDataSN = serialAdd(this.#nextDataSN, 1);
    this.#append(data, lengthBytes);
    if (!fields.final) return;
    if (this.#phase === 'solicited' && this.#receivedBytes !== this.#burstEnd) {
      throw violation('short-burst', 'a solicited burst ended early', this.#receivedBytes, this.#burstEnd);
    }
    this.#phase = 'idle';
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
    if (this.#receivedBytes + lengthBytes > this.#burstEnd) {
      const got = this.#receivedBytes + lengthBytes;
      throw violation('too-much-data', 'more data came than was agreed or asked for', got, this.#burstEnd);
    }
    for (const part of data) this.#parts.push(part);
    this.#receivedBytes += lengthBytes;
  }
}

function violation(code: string, message: string, got: number, limit: number): ProtocolError {
  return new ProtocolError(message, { code, got, limit, rfc: 'RFC 7143 §11.7' });
}
