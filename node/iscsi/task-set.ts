import type { Counters } from '../../base/counters.ts';
import { ProtocolError } from '../../base/errors.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { prepareForMissingUnit } from '../scsi/missing-unit.ts';
import { decodeLun } from '../scsi/parameter-command.ts';
import {
  accept,
  checkCondition,
  dataInBytes,
  dataOutBytes,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from '../scsi/prepared-command.ts';
import { type Sense, sense } from '../scsi/sense.ts';
import type { CommandWindow } from './command-window.ts';
import { type DataMemory, ReadLoan } from './data-memory.ts';
import { WriteTransfer } from './data-out.ts';
import type { PduFrame } from './framer.ts';
import { MAX_IMMEDIATE_TASKS, MAX_SOLICITED_BYTES } from './limits.ts';
import type { SessionParameters } from './login-keys.ts';
import { RESERVED_TAG, rejectReason } from './opcode.ts';
import { CDB_OFFSET, dataOut, scsiCommand } from './pdu.ts';
import type { AnsweredTask, Responder } from './responder.ts';

/** Commands and bytes a session has carried. */
export interface Traffic {
  reads: number;
  writes: number;
  readBytes: number;
  writtenBytes: number;
}

interface Task extends AnsweredTask {
  readonly cmdSN: number;
  readonly immediate: boolean;
  readonly lun: number;
  readonly unit: LogicalUnit | undefined;
  readonly command: PreparedCommand;
  readonly transfer: WriteTransfer | undefined;
  /** Bytes counted against MAX_SOLICITED_BYTES. */
  reservedBytes: number;
  /** Bytes of its data that are here, or were asked for. */
  heldBytes: number;
  running: boolean;
  aborted: boolean;
  /** Set when someone waits for an aborted task to leave the device. */
  onSettled: (() => void) | undefined;
}

export interface TaskSetOptions {
  readonly units: ReadonlyMap<number, LogicalUnit>;
  readonly parameters: SessionParameters;
  readonly window: CommandWindow;
  readonly responder: Responder;
  readonly counters: Counters;
  /** For data that outlives the turn it came in, or that a device has to copy. */
  readonly memory: DataMemory;
  /** This node may not answer any more. */
  readonly onNotServing: () => void;
}

/** The SCSI commands of one session, from arrival to status. */
export class TaskSet {
  readonly traffic: Traffic = { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 };
  readonly #options: TaskSetOptions;
  readonly #loan: ReadLoan;
  readonly #luns: readonly number[];
  readonly #tasks = new Map<number, Task>();
  /** Aborted tasks that the device has not let go of. */
  readonly #settling = new Set<Task>();
  /** Writes whose R2T waits until others have brought in their data. */
  #awaitingRoom: Task[] = [];
  #solicitedBytes = 0;
  #readingBytes = 0;
  #receivedBytes = 0;
  #immediateCount = 0;
  #nextTransferTag = 0;
  #closed = false;

  constructor(options: TaskSetOptions) {
    this.#options = options;
    this.#loan = new ReadLoan(options.memory);
    this.#luns = [...options.units.keys()].sort((a, b) => a - b);
    for (const [lun, unit] of options.units) unit.onAbortTasks(() => this.abortAll(lun));
  }

  /** Data asked of the device for reads and not yet on its way. */
  get readingBytes(): number {
    return this.#readingBytes;
  }

  /** Data of writes that has come, or was asked for, and has not left the device's hands. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Whether the initiator has yet to send data of a write. */
  get awaitsData(): boolean {
    for (const { transfer, running } of this.#tasks.values()) {
      if (transfer !== undefined && !running && (transfer.awaitsUnsolicited || transfer.awaitsSolicited))
        return true;
    }
    return false;
  }

  get size(): number {
    return this.#tasks.size;
  }

  /** A SCSI Command whose turn has come. @returns a reject reason when it cannot become a task */
  command(frame: PduFrame): number | undefined {
    const fields = scsiCommand.decode(frame.header, frame.at);
    if (this.#tasks.has(fields.initiatorTaskTag)) return rejectReason.taskInProgress;
    if (fields.initiatorTaskTag === RESERVED_TAG) return rejectReason.invalidPduField;
    if (fields.immediate && this.#immediateCount >= MAX_IMMEDIATE_TASKS)
      return rejectReason.immediateCommandReject;
    const task = this.#makeTask(frame, fields);
    this.#tasks.set(task.initiatorTaskTag, task);
    if (task.immediate) this.#immediateCount++;
    if (task.transfer !== undefined && !this.#takeImmediateData(task, frame)) return undefined;
    this.#advance(task);
    return undefined;
  }

  #makeTask(frame: PduFrame, fields: ReturnType<typeof scsiCommand.decode>): Task {
    const lun = decodeLun(fields.lunHigh, fields.lunLow);
    const unit = this.#options.units.get(lun);
    const cdbAt = frame.at + CDB_OFFSET;
    let command =
      unit === undefined
        ? prepareForMissingUnit(frame.header, cdbAt, this.#luns)
        : unit.prepare(frame.header, cdbAt);
    const neededBytes = dataOutBytes(command);
    const expectedBytes = fields.expectedDataTransferLength;
    if (fields.read && fields.write) command = refuse(sense.invalidFieldInCdb);
    else command = fitToExpected(command, fields.write ? expectedBytes : 0);
    const carriesData = fields.write && expectedBytes > 0;
    const terms = this.#options.parameters;
    return {
      initiatorTaskTag: fields.initiatorTaskTag,
      lunHigh: fields.lunHigh,
      lunLow: fields.lunLow,
      expectedBytes: fields.read || fields.write ? expectedBytes : 0,
      isRead: fields.read,
      commandBytes: neededBytes > 0 ? neededBytes : dataInBytes(command),
      cmdSN: fields.cmdSN,
      immediate: fields.immediate,
      lun,
      unit,
      command,
      transfer: carriesData
        ? new WriteTransfer(expectedBytes, dataOutBytes(command), fields.final, terms)
        : undefined,
      reservedBytes: 0,
      heldBytes: 0,
      running: false,
      aborted: false,
      onSettled: undefined,
    };
  }

  #takeImmediateData(task: Task, frame: PduFrame): boolean {
    try {
      task.transfer?.acceptImmediate(frame.data, frame.dataLengthBytes);
      this.#hold(task, frame.dataLengthBytes);
      return true;
    } catch (error) {
      this.#failTransfer(task, error);
      return false;
    }
  }

  /** A SCSI Data-Out. For a task that is gone it is dropped: it was on its way when the task ended. */
  dataOut(frame: PduFrame): void {
    const fields = dataOut.decode(frame.header, frame.at);
    const task = this.#tasks.get(fields.initiatorTaskTag);
    if (task?.transfer === undefined || task.running) {
      this.#options.counters.add('iscsi.data-out.without-task');
      return;
    }
    try {
      task.transfer.accept(fields, frame.data, frame.dataLengthBytes);
      this.#hold(task, Math.max(task.reservedBytes, task.transfer.receivedBytes));
    } catch (error) {
      this.#failTransfer(task, error);
      return;
    }
    this.#advance(task);
  }

  /** Senses of RFC 7143 §11.4.7.2 for data that does not follow the rules. */
  #failTransfer(task: Task, error: unknown): void {
    if (!(error instanceof ProtocolError)) throw error;
    this.#options.counters.add(`iscsi.data-out.${error.code}`);
    const why: Sense = TRANSFER_SENSE.get(error.code) ?? sense.protocolServiceCrcError;
    this.#finish(task, checkCondition(why));
  }

  /** Goes on with a task as far as its data allows: asks for more, or carries the command out. */
  #advance(task: Task): void {
    const { transfer } = task;
    if (transfer !== undefined && !transfer.complete) {
      transfer.keep(this.#options.memory);
      if (transfer.awaitsUnsolicited || transfer.awaitsSolicited) return;
      this.#solicit(task);
      return;
    }
    this.#start(task);
  }

  #solicit(task: Task): void {
    const transfer = task.transfer as WriteTransfer;
    if (task.reservedBytes === 0) {
      // The whole command is reserved at once, so that two half-received ones cannot block each other.
      if (this.#solicitedBytes > 0 && this.#solicitedBytes + task.commandBytes > MAX_SOLICITED_BYTES) {
        this.#awaitingRoom.push(task);
        return;
      }
      task.reservedBytes = task.commandBytes;
      this.#solicitedBytes += task.commandBytes;
      this.#hold(task, Math.max(task.commandBytes, transfer.receivedBytes));
    }
    const tag = this.#nextTransferTag;
    this.#nextTransferTag = (tag + 1) % RESERVED_TAG;
    this.#options.responder.readyToTransfer(task, tag, transfer.request(tag));
  }

  #hold(task: Task, lengthBytes: number): void {
    this.#receivedBytes += lengthBytes - task.heldBytes;
    task.heldBytes = lengthBytes;
  }

  #releaseRoom(task: Task): void {
    this.#hold(task, 0);
    if (task.reservedBytes === 0) return;
    this.#solicitedBytes -= task.reservedBytes;
    task.reservedBytes = 0;
    if (this.#awaitingRoom.length === 0) return;
    const waiting = this.#awaitingRoom;
    this.#awaitingRoom = [];
    for (const next of waiting) if (!next.aborted) this.#solicit(next);
  }

  #start(task: Task): void {
    const { command, unit } = task;
    if (command.kind === 'done' || unit === undefined) {
      this.#finish(task, command.kind === 'done' ? command.outcome : checkCondition(sense.unitNotSupported));
      return;
    }
    if (command.kind === 'read') {
      const outcome = unit.runNow(command, this.#loan);
      const giveBack = this.#loan.end();
      if (outcome !== undefined) {
        this.#finish(task, outcome, giveBack);
        return;
      }
      giveBack?.();
    }
    task.running = true;
    if (command.kind === 'read') this.#readingBytes += task.commandBytes;
    if (command.kind === 'write' && task.transfer !== undefined) {
      const hasBegun = unit.beginWrite(command, task.transfer.neededParts(), (outcome) => {
        task.running = false;
        this.#finish(task, outcome);
      });
      if (hasBegun) {
        task.transfer.letGo(this.#options.memory);
        return;
      }
    }
    // Whatever takes more than this turn needs data of its own.
    task.transfer?.keep(this.#options.memory);
    const data = task.transfer === undefined ? [] : task.transfer.neededParts();
    // Failures of the device are outcomes. A rejection is an InvariantError, and is meant to end the process.
    void unit.run(command, data).then((outcome) => {
      if (command.kind === 'read') this.#readingBytes -= task.commandBytes;
      task.running = false;
      this.#finish(task, outcome);
    });
  }

  /** @param taken told that the data of the outcome has left, if it does */
  #finish(task: Task, outcome: ScsiOutcome, taken?: () => void): void {
    // Only a write is done with its data then; what else was done may have kept it.
    if (task.command.kind === 'write') task.transfer?.letGo(this.#options.memory);
    this.#releaseRoom(task);
    if (task.aborted) {
      this.#settling.delete(task);
      task.onSettled?.();
      return;
    }
    if (outcome.kind === 'not-serving') {
      this.#options.onNotServing();
      return;
    }
    this.#forget(task);
    if (this.#closed) return;
    this.#count(task, outcome);
    this.#options.responder.scsi(task, outcome, taken);
  }

  #forget(task: Task): void {
    this.#tasks.delete(task.initiatorTaskTag);
    if (task.immediate) this.#immediateCount--;
    else this.#options.window.answered();
  }

  #count(task: Task, outcome: ScsiOutcome): void {
    if (outcome.kind !== 'good') return;
    if (task.command.kind === 'read') {
      this.traffic.reads++;
      this.traffic.readBytes += task.commandBytes;
    } else if (task.command.kind === 'write') {
      this.traffic.writes++;
      this.traffic.writtenBytes += dataOutBytes(task.command);
    }
  }

  has(initiatorTaskTag: number, lun: number): boolean {
    return this.#tasks.get(initiatorTaskTag)?.lun === lun;
  }

  hasAny(lun: number): boolean {
    for (const task of this.#tasks.values()) if (task.lun === lun) return true;
    return false;
  }

  /** Ends one task without a response; resolves once the device has let go of it. */
  abort(initiatorTaskTag: number): Promise<void> {
    const task = this.#tasks.get(initiatorTaskTag);
    return task === undefined ? Promise.resolve() : this.#abort([task]);
  }

  /** Ends the tasks of one LUN, or all. */
  abortAll(lun?: number): Promise<void> {
    return this.#abort([...this.#tasks.values()].filter((task) => lun === undefined || task.lun === lun));
  }

  /** No more responses: what is still in the device ends in silence. Resolves once nothing is left there. */
  async close(): Promise<void> {
    this.#closed = true;
    const aborted = this.abortAll();
    const before = [...this.#settling].map((task) => this.#settled(task));
    await Promise.all([aborted, ...before]);
  }

  async #abort(tasks: readonly Task[]): Promise<void> {
    const settled: Promise<void>[] = [];
    for (const task of tasks) {
      task.aborted = true;
      this.#forget(task);
      if (task.running && !outlivesItsTask(task.command)) {
        this.#settling.add(task);
        settled.push(this.#settled(task));
      } else {
        this.#releaseRoom(task);
      }
    }
    await Promise.all(settled);
  }

  #settled(task: Task): Promise<void> {
    return new Promise((resolve) => {
      const others = task.onSettled;
      task.onSettled = () => {
        others?.();
        resolve();
      };
    });
  }
}

/**
 * An initiator that announces less data than its WRITE needs gets the whole blocks of it written, and is told
 * of the rest as overflow (RFC 7143 §11.4.5). Anything else with too little data is refused.
 */
function fitToExpected(command: PreparedCommand, expectedBytes: number): PreparedCommand {
  if (command.kind === 'operation' && command.exactData === true && command.dataOutBytes !== expectedBytes) {
    return refuse(sense.invalidFieldInCdb);
  }
  if (dataOutBytes(command) <= expectedBytes) return command;
  if (command.kind !== 'write') return refuse(sense.invalidInformationUnit);
  const lengthBlocks = Math.floor(expectedBytes / LOGICAL_BLOCK_BYTES);
  return lengthBlocks === 0 ? accept : { ...command, lengthBlocks };
}

function outlivesItsTask(command: PreparedCommand): boolean {
  return command.kind === 'operation' && command.outlivesTask === true;
}

const TRANSFER_SENSE: ReadonlyMap<string, Sense> = new Map<string, Sense>([
  ['unexpected-unsolicited-data', sense.unexpectedUnsolicitedData],
  ['unexpected-data', sense.unexpectedUnsolicitedData],
  ['too-much-data', sense.incorrectAmountOfData],
  ['short-burst', sense.incorrectAmountOfData],
]);
