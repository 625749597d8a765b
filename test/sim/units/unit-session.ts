import { InvariantError } from '../../../base/errors.ts';
import { DataMemory } from '../../../node/iscsi/data-memory.ts';
import { sessionParameters } from '../../../node/iscsi/login-keys.ts';
import { opcode } from '../../../node/iscsi/opcode.ts';
import { CDB_OFFSET, HEADER_BYTES, scsiCommand, taskManagementRequest } from '../../../node/iscsi/pdu.ts';
import { planTaskManagement, taskFunction, taskResponse } from '../../../node/iscsi/task-management.ts';
import { type ManagedSession, manageTasks } from '../../../node/iscsi/task-manager.ts';
import { TaskSet } from '../../../node/iscsi/task-set.ts';
import type { LogicalUnit } from '../../../node/scsi/logical-unit.ts';
import type { ScsiOutcome } from '../../../node/scsi/prepared-command.ts';

/** Of memory that was given back: nobody may look at the data of a command once it has been taken. */
const USED_AGAIN = 0xee;
const PROTOCOL_LEVEL = 2;

export interface SentCommand {
  readonly tag: number;
  /** Undefined: nothing is said, or ever will be. */
  readonly outcome: Promise<ScsiOutcome | undefined>;
}

/** One initiator's session with one unit: commands and task management are the product's, over a transport that is ours. */
export class UnitSession {
  readonly #unit: LogicalUnit;
  readonly #onEnd: () => void;
  readonly #tasks: TaskSet;
  readonly #managed: ManagedSession;
  /** Told what becomes of commands, by tag. */
  readonly #waiting = new Map<number, (outcome: ScsiOutcome | undefined) => void>();
  #nextTag = 1;
  #closing: Promise<void> | undefined;

  constructor(unit: LogicalUnit, onEnd: () => void) {
    this.#unit = unit;
    this.#onEnd = onEnd;
    const units = new Map([[0, unit]]);
    this.#tasks = new TaskSet({
      units,
      parameters: sessionParameters(new Map(), 65_536),
      window: { answered: () => {} },
      responder: {
        scsi: ({ initiatorTaskTag }, outcome, taken) => {
          // Where it is on its way its data is a copy: what it was read into is used again.
          const isGood = outcome.kind === 'good';
          const sent = isGood
            ? { ...outcome, dataIn: outcome.dataIn.map((part) => Uint8Array.from(part)) }
            : outcome;
          taken?.();
          this.#answer(initiatorTaskTag, sent);
        },
        readyToTransfer: () => {
          throw new InvariantError('all data comes with its command');
        },
      },
      counters: { add: () => {} },
      memory: new DataMemory(),
      onNotServing: () => void this.close(),
    });
    this.#managed = {
      units,
      tasks: this.#tasks,
      endTasks: () => this.#tasks.abortAll(),
      others: () => [],
      isManaging: () => false,
      received: () => Promise.resolve(),
      skip: () => false,
      skipAllBefore: () => {},
    };
  }

  #answer(tag: number, outcome: ScsiOutcome | undefined): void {
    this.#waiting.get(tag)?.(outcome);
    this.#waiting.delete(tag);
  }

  command(cdb: Uint8Array, dataOut: Uint8Array): SentCommand {
    const tag = this.#nextTag++;
    if (this.#closing !== undefined) return { tag, outcome: Promise.resolve(undefined) };
    const outcome = new Promise<ScsiOutcome | undefined>((resolve) => this.#waiting.set(tag, resolve));
    const header = new Uint8Array(HEADER_BYTES);
    const isWrite = dataOut.length > 0;
    scsiCommand.encode(
      {
        opcode: opcode.scsiCommand,
        final: true,
        read: !isWrite,
        write: isWrite,
        dataSegmentLength: dataOut.length,
        initiatorTaskTag: tag,
        expectedDataTransferLength: isWrite ? dataOut.length : 0xffff_ffff,
        cmdSN: tag,
      },
      header,
    );
    header.set(cdb, CDB_OFFSET);
    const data = Uint8Array.from(dataOut);
    const frame = { header, at: 0, data: isWrite ? [data] : [], dataLengthBytes: data.length };
    if (this.#tasks.command(frame) !== undefined) throw new InvariantError('a command is rejected');
    data.fill(USED_AGAIN);
    return { tag, outcome };
  }

  /**
   * ABORT TASK.
   * @returns whether the command was there, has been ended and will not be answered; undefined: nothing is said
   */
  async abort(tag: number): Promise<boolean | undefined> {
    const plan = planTaskManagement(taskFunction.abortTask, PROTOCOL_LEVEL);
    const asked = { function: taskFunction.abortTask, referencedTaskTag: tag, refCmdSN: tag, cmdSN: tag + 1 };
    const request = taskManagementRequest.decode(taskManagementRequest.encode(asked), 0);
    const { response } = await manageTasks(plan, request, this.#managed);
    return this.#closing === undefined ? response === taskResponse.complete : undefined;
  }

  /** Nothing is said any more; resolves once the last command has left the device. */
  close(): Promise<void> {
    this.#closing ??= this.#tasks.close().then(() => {
      this.#unit.detach();
      this.#onEnd();
    });
    for (const tag of [...this.#waiting.keys()]) this.#answer(tag, undefined);
    return this.#closing;
  }
}
