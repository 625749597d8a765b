import { serialAdd } from '../../base/serial-number.ts';
import { type ScsiOutcome, scsiStatus } from '../scsi/prepared-command.ts';
import { encodeDescriptorSense, encodeSense } from '../scsi/sense.ts';
import type { CommandWindow } from './command-window.ts';
import type { DataRequest } from './data-out.ts';
import { MAX_SEND_DATA_SEGMENT_BYTES } from './limits.ts';
import type { SessionParameters } from './login-keys.ts';
import { asyncEvent, opcode, RESERVED_TAG } from './opcode.ts';
import * as pdu from './pdu.ts';

/** Where a session's PDUs go. */
export interface PduSink {
  /** A buffer to encode a header into. */
  header(): Buffer;
  /** @param taken called once the system has taken the PDU; never if the connection ends before */
  send(header: Buffer, data: readonly Uint8Array[], dataLengthBytes: number, taken?: () => void): void;
}

/** What a SCSI answer needs to know of the command. */
export interface AnsweredTask {
  readonly initiatorTaskTag: number;
  readonly lunHigh: number;
  readonly lunLow: number;
  /** Expected Data Transfer Length, in the direction of the command. */
  readonly expectedBytes: number;
  readonly isRead: boolean;
  /** Data the command itself asks for or, of a write, needs. */
  readonly commandBytes: number;
}

type TextResponse = ReturnType<typeof pdu.textResponse.decode>;

const NO_DATA: readonly Uint8Array[] = [];

/** Numbers and writes what a session sends (RFC 7143 §4.2.2): StatSN, and the window told with every PDU. */
export class Responder {
  readonly #sink: PduSink;
  readonly #window: CommandWindow;
  readonly #maxBurstBytes: number;
  #maxSendDataSegmentBytes: number;
  #statSN: number;

  constructor(sink: PduSink, window: CommandWindow, parameters: SessionParameters, firstStatSN: number) {
    this.#sink = sink;
    this.#window = window;
    this.#maxBurstBytes = parameters.maxBurstBytes;
    this.#maxSendDataSegmentBytes = parameters.maxSendDataSegmentBytes;
    this.#statSN = firstStatSN;
  }

  /** Longest data segment sent. */
  get maxSendDataSegmentBytes(): number {
    return this.#maxSendDataSegmentBytes;
  }

  /** The initiator has declared anew what it takes (RFC 7143 §13.12). */
  limitDataSegments(lengthBytes: number): void {
    this.#maxSendDataSegmentBytes = Math.min(lengthBytes, MAX_SEND_DATA_SEGMENT_BYTES);
  }

  /** The numbers of a PDU that carries status. */
  #status(): { statSN: number; expCmdSN: number; maxCmdSN: number } {
    const statSN = this.#statSN;
    this.#statSN = serialAdd(statSN, 1);
    return { statSN, expCmdSN: this.#window.expCmdSN, maxCmdSN: this.#window.maxCmdSN };
  }

  /** @param taken called once the system has taken the data of the outcome, if it does; not for one without */
  scsi(task: AnsweredTask, outcome: Exclude<ScsiOutcome, { kind: 'not-serving' }>, taken?: () => void): void {
    switch (outcome.kind) {
      case 'good':
        if (outcome.lengthBytes > 0 && task.isRead && task.expectedBytes > 0) {
          this.#dataIn(task, outcome.dataIn, outcome.lengthBytes, taken);
        } else {
          // Data for an initiator that announced some of its own goes nowhere, and none of that was taken.
          const isOtherWay = outcome.lengthBytes > 0 && task.expectedBytes > 0;
          const moved = isOtherWay ? 0 : Math.max(outcome.lengthBytes, task.commandBytes);
          this.#scsiResponse(task, scsiStatus.good, moved, NO_DATA, 0);
        }
        return;
      case 'check-condition': {
        const encode = outcome.descriptorFormat === true ? encodeDescriptorSense : encodeSense;
        const sense = encode(outcome.sense);
        const length = Uint8Array.of(sense.length >>> 8, sense.length & 0xff);
        const moved = task.isRead ? 0 : task.commandBytes;
        this.#scsiResponse(task, scsiStatus.checkCondition, moved, [length, sense], 2 + sense.length);
        return;
      }
      case 'reservation-conflict':
        this.#scsiResponse(task, scsiStatus.reservationConflict, 0, NO_DATA, 0);
    }
  }

  /** Status of a command whose data, of `actualBytes`, did not come with it. */
  #scsiResponse(
    task: AnsweredTask,
    status: number,
    actualBytes: number,
    data: readonly Uint8Array[],
    dataBytes: number,
  ): void {
    const header = this.#sink.header();
    const residual = actualBytes - task.expectedBytes;
    const statSN = this.#statSN;
    this.#statSN = serialAdd(statSN, 1);
    pdu.scsiResponse.encode(
      {
        opcode: opcode.scsiResponse,
        final: true,
        overflow: residual > 0,
        underflow: residual < 0,
        status,
        dataSegmentLength: dataBytes,
        initiatorTaskTag: task.initiatorTaskTag,
        statSN,
        expCmdSN: this.#window.expCmdSN,
        maxCmdSN: this.#window.maxCmdSN,
        residualCount: Math.abs(residual),
      },
      header,
    );
    this.#sink.send(header, data, dataBytes);
  }

  /** Data in as few PDUs as the initiator allows, the last of them with the status (§11.7.3). */
  #dataIn(
    task: AnsweredTask,
    parts: readonly Uint8Array[],
    actualBytes: number,
    taken: (() => void) | undefined,
  ): void {
    const sendBytes = Math.min(actualBytes, task.expectedBytes);
    const maxSendDataSegmentBytes = this.#maxSendDataSegmentBytes;
    const maxBurstBytes = this.#maxBurstBytes;
    const cursor = new PartsCursor(parts);
    let offset = 0;
    let burstLeft = maxBurstBytes;
    for (let dataSN = 0; offset < sendBytes; dataSN++) {
      const lengthBytes = Math.min(maxSendDataSegmentBytes, burstLeft, sendBytes - offset);
      const last = offset + lengthBytes === sendBytes;
      burstLeft -= lengthBytes;
      const endsBurst = burstLeft === 0 || last;
      if (burstLeft === 0) burstLeft = maxBurstBytes;
      this.#dataInPdu(task, { dataSN, offset, lengthBytes, last, endsBurst, actualBytes, taken }, cursor);
      offset += lengthBytes;
    }
  }

  #dataInPdu(task: AnsweredTask, segment: DataInSegment, cursor: PartsCursor): void {
    const header = this.#sink.header();
    const residual = segment.last ? segment.actualBytes - task.expectedBytes : 0;
    const statSN = this.#statSN;
    if (segment.last) this.#statSN = serialAdd(statSN, 1);
    pdu.dataIn.encode(
      {
        opcode: opcode.dataIn,
        final: segment.endsBurst,
        overflow: residual > 0,
        underflow: residual < 0,
        hasStatus: segment.last,
        dataSegmentLength: segment.lengthBytes,
        initiatorTaskTag: task.initiatorTaskTag,
        targetTransferTag: RESERVED_TAG,
        statSN: segment.last ? statSN : 0,
        expCmdSN: this.#window.expCmdSN,
        maxCmdSN: this.#window.maxCmdSN,
        dataSN: segment.dataSN,
        bufferOffset: segment.offset,
        residualCount: Math.abs(residual),
      },
      header,
    );
    const taken = segment.last ? segment.taken : undefined;
    this.#sink.send(header, cursor.take(segment.lengthBytes), segment.lengthBytes, taken);
  }

  readyToTransfer(task: AnsweredTask, targetTransferTag: number, request: DataRequest): void {
    const header = this.#sink.header();
    pdu.readyToTransfer.encode(
      {
        opcode: opcode.readyToTransfer,
        final: true,
        lunHigh: task.lunHigh,
        lunLow: task.lunLow,
        initiatorTaskTag: task.initiatorTaskTag,
        targetTransferTag,
        // The next StatSN, which stays unused (§11.8.3).
        statSN: this.#statSN,
        expCmdSN: this.#window.expCmdSN,
        maxCmdSN: this.#window.maxCmdSN,
        r2tSN: request.r2tSN,
        bufferOffset: request.bufferOffset,
        desiredDataTransferLength: request.lengthBytes,
      },
      header,
    );
    this.#sink.send(header, NO_DATA, 0);
  }

  /** @param additionalInformation three bytes, of a query of unit attentions alone */
  taskManagement(initiatorTaskTag: number, response: number, additionalInformation?: Uint8Array): void {
    const header = this.#sink.header();
    const fields = { opcode: opcode.taskManagementResponse, final: true, initiatorTaskTag, response };
    const additional = additionalInformation === undefined ? {} : { additionalInformation };
    pdu.taskManagementResponse.encode({ ...fields, ...additional, ...this.#status() }, header);
    this.#sink.send(header, NO_DATA, 0);
  }

  /** @param data the ping data to echo, of which only what the initiator can take is sent */
  nopReply(initiatorTaskTag: number, data: Uint8Array): void {
    const echoed = data.subarray(0, this.#maxSendDataSegmentBytes);
    const header = this.#sink.header();
    pdu.nopIn.encode(
      {
        opcode: opcode.nopIn,
        final: true,
        dataSegmentLength: echoed.length,
        initiatorTaskTag,
        targetTransferTag: RESERVED_TAG,
        ...this.#status(),
      },
      header,
    );
    this.#sink.send(header, [echoed], echoed.length);
  }

  /** Asks the initiator for a sign of life; StatSN does not move (§11.19). */
  nopPing(targetTransferTag: number): void {
    const header = this.#sink.header();
    pdu.nopIn.encode(
      {
        opcode: opcode.nopIn,
        final: true,
        initiatorTaskTag: RESERVED_TAG,
        targetTransferTag,
        statSN: this.#statSN,
        expCmdSN: this.#window.expCmdSN,
        maxCmdSN: this.#window.maxCmdSN,
      },
      header,
    );
    this.#sink.send(header, NO_DATA, 0);
  }

  /** The LUN, which a transfer tag asks for (§11.10.4), is zero: text is of the session. */
  text(
    fields: Pick<TextResponse, 'initiatorTaskTag' | 'targetTransferTag' | 'final' | 'continues'>,
    data: Uint8Array,
  ): void {
    const header = this.#sink.header();
    pdu.textResponse.encode(
      { opcode: opcode.textResponse, dataSegmentLength: data.length, ...fields, ...this.#status() },
      header,
    );
    this.#sink.send(header, [data], data.length);
  }

  logout(initiatorTaskTag: number, response: number): void {
    const header = this.#sink.header();
    const fields = { opcode: opcode.logoutResponse, final: true, initiatorTaskTag, response };
    pdu.logoutResponse.encode({ ...fields, ...this.#status() }, header);
    this.#sink.send(header, NO_DATA, 0);
  }

  /**
   * Announces that the target is about to drop the session's connections; is not sent from here, since it may be all that is
   * still sent. Time2Wait and Time2Retain are zero: the initiator may log in again at once, and no task is kept (§11.9.1).
   * @returns the header, complete
   */
  dropAnnouncement(): Buffer {
    const header = this.#sink.header();
    const fields = { opcode: opcode.asyncMessage, final: true, initiatorTaskTag: RESERVED_TAG };
    pdu.asyncMessage.encode(
      { ...fields, asyncEvent: asyncEvent.dropsAllConnections, ...this.#status() },
      header,
    );
    return header;
  }

  /** @param refused the 48 header bytes of the PDU that is refused */
  reject(reason: number, refused: Uint8Array): void {
    const header = this.#sink.header();
    pdu.reject.encode(
      {
        opcode: opcode.reject,
        final: true,
        reason,
        dataSegmentLength: refused.length,
        initiatorTaskTag: RESERVED_TAG,
        ...this.#status(),
      },
      header,
    );
    this.#sink.send(header, [refused], refused.length);
  }
}

interface DataInSegment {
  readonly dataSN: number;
  readonly offset: number;
  readonly lengthBytes: number;
  /** Carries the status. */
  readonly last: boolean;
  readonly endsBurst: boolean;
  readonly actualBytes: number;
  /** Called once the last of them was taken. */
  readonly taken: (() => void) | undefined;
}

/** Walks a list of parts as one run of bytes. */
class PartsCursor {
  readonly #parts: readonly Uint8Array[];
  #index = 0;
  #offset = 0;

  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
  }

  take(lengthBytes: number): readonly Uint8Array[] {
    const first = this.#parts[this.#index] as Uint8Array;
    // One whole part, or all of them, is what nearly every read takes.
    if (this.#offset === 0 && first.length === lengthBytes) {
      this.#index++;
      return this.#parts.length === 1 ? this.#parts : [first];
    }
    const out: Uint8Array[] = [];
    let left = lengthBytes;
    while (left > 0) {
      const part = this.#parts[this.#index] as Uint8Array;
      const taken = part.subarray(this.#offset, this.#offset + left);
      out.push(taken);
      left -= taken.length;
      this.#offset += taken.length;
      if (this.#offset === part.length) {
        this.#index++;
        this.#offset = 0;
      }
    }
    return out;
  }
}
