import type { Counters } from '../../base/counters.ts';
import { serialLess } from '../../base/serial-number.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { prepareForMissingUnit } from '../scsi/missing-unit.ts';
import { decodeLun } from '../scsi/parameter-command.ts';
import {
  checkCondition,
  dataInBytes,
  dataOutBytes,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from '../scsi/prepared-command.ts';
import { sense } from '../scsi/sense.ts';
import type { CommandWindow } from './command-window.ts';
import { type DataMemory, ReadLoan } from './data-memory.ts';
import { WriteTransfer } from './data-out.ts';
import type { PduFrame } from './framer.ts';
import { MAX_IMMEDIATE_TASKS, MAX_SOLICITED_BYTES } from './limits.ts';
import type { SessionParameters } from './login-keys.ts';
import { RESERVED_TAG, rejectReason } from './opcode.ts';
import { CDB_OFFSET, dataOut, scsiCommand } from './pdu.ts';
import type { Responder } from './responder.ts';
import type { Task } from './task.ts';
import { TaskOrder, taskAttribute } from './task-order.ts';
import { fitToExpected, outlivesItsTask, transferSense } from './task-rules.ts';
import { countTraffic, type Traffic } from './traffic.ts';

export interface TaskSetOptions {
  readonly units: ReadonlyMap<number, LogicalUnit>;
  readonly parameters: SessionParameters;
  readonly window: Pick<CommandWindow, 'answered'>;
  readonly responder: Pick<Responder, 'scsi' | 'readyToTransfer'>;
  readonly counters: Counters;
  /** For data that outlives the turn it came in, or that a device has to copy. */
  readonly memory: DataMemory;
  /** This node may not answer any more. */
  readonly onNotServing: () => void;
}

type ScsiCommand = ReturnType<typeof scsiCommand.decode>;

/** The SCSI commands of one session, from arrival to status. */
export class TaskSet {
  readonly traffic: Traffic = { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 };
  readonly #options: TaskSetOptions;
  readonly #loan: ReadLoan;
  readonly #luns: readonly number[];
  readonly #tasks = new Map<number, Task>();
  readonly #order = new TaskOrder<Task>(() => this.#tasks.values());
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
      if (transfer !== undefined && !running && transfer.isOpen) return true;
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
    if (fields.attributes > taskAttribute.aca) return rejectReason.protocolError;
    if (fields.immediate && this.#immediateCount >= MAX_IMMEDIATE_TASKS)
      return rejectReason.immediateCommandReject;
    const task = this.#makeTask(frame, fields);
    this.#tasks.set(task.initiatorTaskTag, task);
    this.#order.entered(task);
    if (task.immediate) this.#immediateCount++;
    if (task.transfer !== undefined) {
      task.transfer.acceptImmediate(frame.data, frame.dataLengthBytes);
      this.#hold(task, frame.dataLengthBytes);
    }
    this.#advance(task);
    return undefined;
  }

  #makeTask(frame: PduFrame, fields: ScsiCommand): Task {
    const lun = decodeLun(fields.lunHigh, fields.lunLow);
    const unit = this.#options.units.get(lun);
    const prepared = this.#prepare(frame, fields, unit);
    const neededBytes = dataOutBytes(prepared);
    const expectedBytes = fields.expectedDataTransferLength;
    const command = fitToExpected(prepared, fields);
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
      attribute: fields.attributes,
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
      onDataEnd: undefined,
      onSettled: undefined,
    };
  }

  #prepare(frame: PduFrame, fields: ScsiCommand, unit: LogicalUnit | undefined): PreparedCommand {
    // Bidirectional, which no command is; or of an ACA, which there is none of. Neither tells a unit attention.
    if (fields.read && fields.write) return refuse(sense.invalidFieldInCdb);
    if (fields.attributes === taskAttribute.aca) return refuse(sense.invalidMessage);
    const cdbAt = frame.at + CDB_OFFSET;
    return unit === undefined
      ? prepareForMissingUnit(frame.header, cdbAt, this.#luns)
      : unit.prepare(frame.header, cdbAt);
  }

  /** A SCSI Data-Out. For a task that is gone it is dropped: it was on its way when the task ended. */
  dataOut(frame: PduFrame): void {
    const fields = dataOut.decode(frame.header, frame.at);
    const task = this.#tasks.get(fields.initiatorTaskTag);
    if (task?.transfer === undefined || task.running) {
      this.#options.counters.add('iscsi.data-out.without-task');
      return;
    }
    const { lunHigh, lunLow } = task;
    task.transfer.accept(fields, frame.data, frame.dataLengthBytes, { lunHigh, lunLow });
    this.#hold(task, Math.max(task.reservedBytes, task.transfer.receivedBytes));
    this.#advance(task);
  }

  /** Goes on with a task as far as its data allows: asks for more, or carries the command out. */
  #advance(task: Task): void {
    const { transfer } = task;
    const failure = transfer?.failure;
    if (transfer !== undefined && failure !== undefined) {
      // What was asked for, or announced, comes all the same, and the answer after it (§11.4.2).
      transfer.letGo(this.#options.memory);
      if (transfer.isOpen) return;
      this.#options.counters.add(`iscsi.data-out.${failure.code}`);
      this.#finish(task, this.#inFormat(task, checkCondition(transferSense(failure))));
      return;
    }
    const isToBegin = task.onDataEnd === undefined;
    if (isToBegin && this.#order.holdsBack(task)) {
      transfer?.keep(this.#options.memory);
    } else if (isToBegin && transfer?.complete !== false) {
      this.#start(task);
    } else if (transfer !== undefined) {
      transfer.keep(this.#options.memory);
      if (transfer.isOpen) return;
      if (isToBegin) this.#solicit(task);
      else task.onDataEnd?.();
    }
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
    for (const next of waiting) {
      const isThere = this.#tasks.get(next.initiatorTaskTag) === next;
      if (isThere && next.onDataEnd === undefined) this.#solicit(next);
    }
  }

  #start(task: Task): void {
    const { command, unit } = task;
    if (command.kind === 'done' || unit === undefined) {
      const outcome = command.kind === 'done' ? command.outcome : checkCondition(sense.unitNotSupported);
      this.#finish(task, this.#inFormat(task, outcome));
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

  /** With its sense data, if there is some, in the format that initiators want of the unit. */
  #inFormat({ unit }: Task, outcome: ScsiOutcome): ScsiOutcome {
    return unit?.inFormat(outcome) ?? outcome;
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
    task.onDataEnd?.();
    if (this.#closed) return;
    countTraffic(this.traffic, task, outcome);
    this.#options.responder.scsi(task, outcome, taken);
    this.#beginWaiting();
  }

  #beginWaiting(): void {
    for (const task of this.#order.takeWaiting()) if (!task.aborted) this.#advance(task);
  }

  #forget(task: Task): void {
    this.#tasks.delete(task.initiatorTaskTag);
    this.#order.left(task);
    if (task.immediate) this.#immediateCount--;
    else this.#options.window.answered();
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
    return this.#abort(lun === undefined ? [...this.#tasks.values()] : this.#tasksOf(lun));
  }

  /**
   * Ends the tasks of one LUN that came before a request, once the data they were asked for has come (RFC 7143 §11.5.1);
   * commands that come later stay. Resolves once the device has let go of them.
   * @param cmdSN of the request
   * @param received resolves once all commands before it have come
   */
  async endEarlier(lun: number, cmdSN: number, received: Promise<void>): Promise<void> {
    const earlier = this.#tasksOf(lun);
    const dataEnds = earlier.map((task) => this.#dataEnd(task));
    await received;
    const late = this.#tasksOf(lun).filter((task) => !task.immediate && serialLess(task.cmdSN, cmdSN));
    for (const task of late) {
      if (earlier.includes(task)) continue;
      earlier.push(task);
      dataEnds.push(this.#dataEnd(task));
    }
    await Promise.all(dataEnds);
    await this.#abort(earlier.filter((task) => this.#tasks.get(task.initiatorTaskTag) === task));
  }

  /** Keeps a task from being begun; resolves once its initiator has nothing to send for it. */
  #dataEnd(task: Task): Promise<void> {
    if (task.running) return Promise.resolve();
    return new Promise((resolve) => {
      const others = task.onDataEnd;
      task.onDataEnd = () => {
        others?.();
        resolve();
      };
      if (task.transfer?.isOpen !== true) resolve();
    });
  }

  #tasksOf(lun: number): Task[] {
    return [...this.#tasks.values()].filter((task) => task.lun === lun);
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
      task.onDataEnd?.();
      if (task.running && !outlivesItsTask(task.command)) {
        this.#settling.add(task);
        settled.push(this.#settled(task));
      } else {
        this.#releaseRoom(task);
      }
    }
    this.#beginWaiting();
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
