import { serialAdd, serialLess, serialLessOrEqual } from '../../base/serial-number.ts';
import type { PduFrame } from '../../node/iscsi/framer.ts';
import { opcode, RESERVED_TAG } from '../../node/iscsi/opcode.ts';
import * as pdu from '../../node/iscsi/pdu.ts';
import { taskAttribute } from '../../node/iscsi/task-order.ts';
import type { ConnectionLostError, LoggedIn, LoginOptions, Wire } from './iscsi-wire.ts';
import type { ScsiReply, ScsiRequest } from './scsi-exchange.ts';

export interface InitiatorOptions extends LoginOptions {
  readonly targetName: string;
  readonly lun?: number;
  /** Commands kept outstanding at most; the target's window may allow fewer. */
  readonly queueDepth?: number;
  /** iPXE's manner: NOP-In from the target goes unanswered. */
  readonly ignoresNopIn?: boolean;
}

/** What every request says of itself and of the session. */
export interface RequestNumbers {
  readonly initiatorTaskTag: number;
  readonly cmdSN: number;
  readonly expStatSN: number;
}

interface PendingCommand {
  readonly request: ScsiRequest;
  readonly data: Uint8Array;
  readonly resolve: (reply: ScsiReply) => void;
  readonly reject: (error: Error) => void;
}

interface PendingAnswer {
  readonly resolve: (frame: PduFrame) => void;
  readonly reject: (error: Error) => void;
}

const DEFAULT_QUEUE_DEPTH = 64;

/**
 * An initiator's side of a session of one connection: commands in the target's window, the data they move, the answers
 * to requests, and the numbers that all of these carry.
 */
export class InitiatorSession {
  readonly loggedIn: LoggedIn;
  readonly #wire: Wire;
  readonly #options: InitiatorOptions;
  readonly #commands = new Map<number, PendingCommand>();
  readonly #answers = new Map<number, PendingAnswer>();
  readonly #waiting: PendingCommand[] = [];
  readonly #closeListeners: ((why: Error) => void)[] = [];
  #nextTag = 1;
  #cmdSN: number;
  #expStatSN: number;
  #maxCmdSN: number;
  /** PDUs seen, for tests. */
  readonly seen = { rejects: 0, pings: 0, asyncMessages: 0, dataIns: 0, readyToTransfers: 0 };

  constructor(loggedIn: LoggedIn, options: InitiatorOptions) {
    this.loggedIn = loggedIn;
    this.#wire = loggedIn.wire;
    this.#options = options;
    this.#cmdSN = loggedIn.nextCmdSN;
    this.#expStatSN = loggedIn.expStatSN;
    this.#maxCmdSN = loggedIn.maxCmdSN;
    this.#wire.onFrame((frame) => this.#onFrame(frame));
    this.#wire.onClose((why) => this.#onClose(why));
  }

  /** Called once, when the connection is gone for whatever reason. */
  onClose(listener: (why: Error) => void): void {
    this.#closeListeners.push(listener);
    if (this.#wire.lost !== undefined) listener(this.#wire.lost);
  }

  protected get lun(): number {
    return this.#options.lun ?? 0;
  }

  /** CmdSN of the next command, for tests that send one of their own making. */
  get nextCmdSN(): number {
    return this.#cmdSN;
  }

  /** Commands sent or waiting to be sent. */
  get outstanding(): number {
    return this.#commands.size + this.#waiting.length;
  }

  /** Any command; resolves with whatever status it ended. @throws ConnectionLostError */
  command(request: ScsiRequest): Promise<ScsiReply> {
    return new Promise((resolve, reject) => {
      if (this.#wire.lost !== undefined) {
        reject(this.#wire.lost);
        return;
      }
      this.#waiting.push({ request, data: new Uint8Array(request.readBytes ?? 0), resolve, reject });
      this.#sendWaiting();
    });
  }

  #sendWaiting(): void {
    const depth = this.#options.queueDepth ?? DEFAULT_QUEUE_DEPTH;
    while (this.#waiting.length > 0 && this.#commands.size < depth) {
      if (!serialLessOrEqual(this.#cmdSN, this.#maxCmdSN)) return;
      this.#sendCommand(this.#waiting.shift() as PendingCommand);
    }
  }

  #sendCommand(pending: PendingCommand): void {
    const { request } = pending;
    const { parameters } = this.loggedIn;
    const tag = this.takeTag();
    this.#commands.set(tag, pending);
    const data = request.write ?? new Uint8Array();
    const expected = request.writeBytes ?? request.write?.length ?? request.readBytes ?? 0;
    const firstBurst = Math.min(data.length, parameters.firstBurstBytes);
    const immediate = parameters.immediateData ? Math.min(firstBurst, parameters.maxSendDataSegmentBytes) : 0;
    const unsolicited = !parameters.initialR2T && firstBurst > immediate;
    const header = this.#wire.header();
    pdu.scsiCommand.encode(
      {
        opcode: opcode.scsiCommand,
        final: !unsolicited,
        read: request.readBytes !== undefined,
        write: request.write !== undefined,
        attributes: request.attribute ?? taskAttribute.simple,
        dataSegmentLength: immediate,
        lunHigh: (request.lun ?? this.lun) << 16,
        initiatorTaskTag: tag,
        expectedDataTransferLength: expected,
        cmdSN: this.#takeCmdSN(),
        expStatSN: this.#expStatSN,
      },
      header,
    );
    header.set(request.cdb, pdu.CDB_OFFSET);
    this.#wire.send(header, [data.subarray(0, immediate)], immediate);
    if (unsolicited) this.#sendData(tag, pending, RESERVED_TAG, immediate, firstBurst - immediate);
  }

  #sendData(
    tag: number,
    pending: PendingCommand,
    transferTag: number,
    from: number,
    lengthBytes: number,
  ): void {
    const data = pending.request.write ?? new Uint8Array();
    const limit = this.loggedIn.parameters.maxSendDataSegmentBytes;
    const end = from + lengthBytes;
    for (let at = from, dataSN = 0; at < end; dataSN++) {
      const size = Math.min(limit, end - at);
      const header = this.#wire.header();
      pdu.dataOut.encode(
        {
          opcode: opcode.dataOut,
          final: at + size === end,
          dataSegmentLength: size,
          lunHigh: (pending.request.lun ?? this.lun) << 16,
          initiatorTaskTag: tag,
          targetTransferTag: transferTag,
          expStatSN: this.#expStatSN,
          dataSN,
          bufferOffset: at,
        },
        header,
      );
      this.#wire.send(header, [data.subarray(at, at + size)], size);
      at += size;
    }
  }

  /** A task tag that nothing else has. */
  protected takeTag(): number {
    const tag = this.#nextTag;
    this.#nextTag = tag >= 0xffff_fff0 ? 1 : tag + 1;
    return tag;
  }

  #takeCmdSN(): number {
    const cmdSN = this.#cmdSN;
    this.#cmdSN = serialAdd(cmdSN, 1);
    return cmdSN;
  }

  /**
   * An immediate request, which takes no place in the target's window; resolves with its answer.
   * @param encode writes the request's header, the numbers given included
   * @param tag of a request that goes on; else one of its own
   * @throws ConnectionLostError
   */
  protected ask(
    encode: (numbers: RequestNumbers, header: Buffer) => void,
    data: Uint8Array = new Uint8Array(),
    tag = this.takeTag(),
  ): Promise<PduFrame> {
    const header = this.#wire.header();
    encode({ initiatorTaskTag: tag, cmdSN: this.#cmdSN, expStatSN: this.#expStatSN }, header);
    const frame = this.#answer(tag);
    this.#wire.sendWith(header, data);
    return frame;
  }

  /** Initiator task tags of commands in flight, oldest first. */
  taskTags(): number[] {
    return [...this.#commands.keys()];
  }

  /** Gives up commands the target was told to end; their promises reject. */
  abandon(reason = 'aborted'): void {
    for (const pending of this.#commands.values()) pending.reject(new Error(reason));
    this.#commands.clear();
  }

  /** Cuts the connection without a word, as a crash would. */
  destroy(): void {
    this.#wire.destroy();
  }

  #answer(tag: number): Promise<PduFrame> {
    return new Promise((resolve, reject) => {
      if (this.#wire.lost === undefined) this.#answers.set(tag, { resolve, reject });
      else reject(this.#wire.lost);
    });
  }

  #onFrame(frame: PduFrame): void {
    const code = (frame.header[frame.at] as number) & 0x3f;
    this.#takeNumbers(code, frame);
    switch (code) {
      case opcode.dataIn:
        this.#onDataIn(frame);
        break;
      case opcode.scsiResponse:
        this.#onScsiResponse(frame);
        break;
      case opcode.readyToTransfer: {
        this.seen.readyToTransfers++;
        const fields = pdu.readyToTransfer.decode(frame.header, frame.at);
        const pending = this.#commands.get(fields.initiatorTaskTag);
        const { targetTransferTag, bufferOffset, desiredDataTransferLength } = fields;
        if (pending !== undefined) {
          this.#sendData(
            fields.initiatorTaskTag,
            pending,
            targetTransferTag,
            bufferOffset,
            desiredDataTransferLength,
          );
        }
        break;
      }
      case opcode.nopIn:
        this.#onNopIn(frame);
        break;
      case opcode.reject:
        this.seen.rejects++;
        break;
      case opcode.asyncMessage:
        this.seen.asyncMessages++;
        break;
      case opcode.taskManagementResponse:
      case opcode.textResponse:
      case opcode.logoutResponse: {
        const { initiatorTaskTag } = pdu.basicHeader.decode(frame.header, frame.at);
        this.#answers.get(initiatorTaskTag)?.resolve(frame);
        this.#answers.delete(initiatorTaskTag);
        break;
      }
      default:
        // As real initiators do.
        this.#wire.socket.destroy(new Error(`the target sent opcode ${code}`));
        return;
    }
    this.#sendWaiting();
  }

  #takeNumbers(code: number, frame: PduFrame): void {
    const { statSN, maxCmdSN } = pdu.nopIn.decode(frame.header, frame.at);
    if (serialLess(this.#maxCmdSN, maxCmdSN)) this.#maxCmdSN = maxCmdSN;
    const flags = frame.header[frame.at + 1] as number;
    const carriesStatus = code !== opcode.readyToTransfer && (code !== opcode.dataIn || (flags & 1) === 1);
    if (carriesStatus && serialLessOrEqual(this.#expStatSN, statSN)) this.#expStatSN = serialAdd(statSN, 1);
  }

  #onDataIn(frame: PduFrame): void {
    this.seen.dataIns++;
    const fields = pdu.dataIn.decode(frame.header, frame.at);
    const pending = this.#commands.get(fields.initiatorTaskTag);
    if (pending === undefined) return;
    let at = fields.bufferOffset;
    for (const part of frame.data) {
      pending.data.set(part, at);
      at += part.length;
    }
    if (!fields.hasStatus) return;
    const residual = fields.overflow ? fields.residualCount : -fields.residualCount;
    this.#settle(fields.initiatorTaskTag, { status: fields.status, sense: new Uint8Array(), residual });
  }

  #onScsiResponse(frame: PduFrame): void {
    const fields = pdu.scsiResponse.decode(frame.header, frame.at);
    const residual = fields.overflow ? fields.residualCount : -fields.residualCount;
    const sense = Buffer.concat(frame.data).subarray(2);
    this.#settle(fields.initiatorTaskTag, { status: fields.status, sense, residual });
  }

  #settle(tag: number, outcome: Omit<ScsiReply, 'data'>): void {
    const pending = this.#commands.get(tag);
    if (pending === undefined) return;
    this.#commands.delete(tag);
    const received = pending.data.length + Math.min(outcome.residual, 0);
    const data = outcome.status === 0 ? pending.data.subarray(0, Math.max(received, 0)) : new Uint8Array();
    pending.resolve({ ...outcome, data });
  }

  #onNopIn(frame: PduFrame): void {
    const fields = pdu.nopIn.decode(frame.header, frame.at);
    if (fields.initiatorTaskTag !== RESERVED_TAG) {
      this.#answers.get(fields.initiatorTaskTag)?.resolve(frame);
      this.#answers.delete(fields.initiatorTaskTag);
      return;
    }
    this.seen.pings++;
    if (fields.targetTransferTag === RESERVED_TAG || this.#options.ignoresNopIn === true) return;
    const header = this.#wire.header();
    const answer = { opcode: opcode.nopOut, immediate: true, final: true, initiatorTaskTag: RESERVED_TAG };
    const { lunHigh, lunLow, targetTransferTag } = fields;
    const numbers = { targetTransferTag, cmdSN: this.#cmdSN, expStatSN: this.#expStatSN };
    pdu.nopOut.encode({ ...answer, lunHigh, lunLow, ...numbers }, header);
    this.#wire.send(header);
  }

  #onClose(why: ConnectionLostError): void {
    const pending = [...this.#commands.values(), ...this.#waiting, ...this.#answers.values()];
    this.#commands.clear();
    this.#waiting.length = 0;
    this.#answers.clear();
    for (const one of pending) one.reject(why);
    for (const listener of this.#closeListeners) listener(why);
  }
}
