import { describeError, InvariantError, invariant, unreachable } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { type BlockDevice, DeviceError, LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import { opcode, preventAllowCdb, requestSenseCdb, startStopUnitCdb } from './cdb.ts';
import { type CommandRow, findRow, rowsOf } from './command-table.ts';
import type { LogicalUnitIdentity } from './identity.ts';
import { MAX_LOGGED_FAILURES, MAX_PENDING_ATTENTIONS, VERIFY_STEP_BLOCKS } from './limits.ts';
import * as media from './media-command.ts';
import * as parameter from './parameter-command.ts';
import {
  accept,
  answer,
  checkCondition,
  goodWithoutData,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from './prepared-command.ts';
import type { Reservation } from './reservation.ts';
import { encodeDescriptorSense, encodeSense, type Sense, sense } from './sense.ts';
import { prepareReportSupportedOpcodes } from './supported-opcodes.ts';

export interface LogicalUnitOptions {
  readonly device: BlockDevice;
  readonly identity: LogicalUnitIdentity;
  /** Every LUN of the target, for REPORT LUNS. */
  readonly luns: readonly number[];
  /** Shared by all initiators of the unit. */
  readonly reservation: Reservation;
  readonly logger: Logger;
}

const conflict: PreparedCommand = { kind: 'done', outcome: { kind: 'reservation-conflict' } };

/**
 * One logical unit as one initiator sees it (an I_T_L nexus): the block device behind it, and the unit
 * attentions that this initiator has yet to be told of. Starts with the attention of a power on pending.
 */
export class LogicalUnit {
  readonly device: BlockDevice;
  readonly #identity: LogicalUnitIdentity;
  readonly #luns: readonly number[];
  readonly #reservation: Reservation;
  readonly #logger: Logger;
  readonly #attentions: Sense[] = [sense.powerOn];
  #failures = 0;

  constructor(options: LogicalUnitOptions) {
    this.device = options.device;
    this.#identity = options.identity;
    this.#luns = options.luns;
    this.#reservation = options.reservation;
    this.#logger = options.logger;
  }

  /** Tells this initiator, with its next command, of something that happened to the unit (SAM-5 §5.14). */
  raiseAttention(attention: Sense): void {
    if (this.#attentions.some((a) => a.asc === attention.asc && a.ascq === attention.ascq)) return;
    if (this.#attentions.length >= MAX_PENDING_ATTENTIONS) this.#attentions.pop();
    this.#attentions.push(attention);
  }

  /** Gives up what this initiator holds; its session has ended. */
  detach(): void {
    this.#reservation.release(this);
  }

  /** Ends any reservation, as a reset of the unit does. */
  resetReservation(): void {
    this.#reservation.reset();
  }

  /**
   * Checks the CDB at `at`, of which 16 bytes must be present, and carries it out unless it needs the device.
   * Takes a pending unit attention when the command reports one.
   */
  prepare(cdb: Uint8Array, at: number): PreparedCommand {
    const code = cdb[at] as number;
    // READ and WRITE come by the hundred thousand; they need no row once nothing stands in their way.
    const row = this.#attentions.length === 0 ? undefined : findRow(code, (cdb[at + 1] as number) & 0x1f);
    if (this.#attentions.length > 0 && row?.ignoresUnitAttention !== true) {
      // An unknown command is invalid before it is anything else, and leaves the attention pending.
      if (row === undefined) return this.#unknown(code);
      return refuse(this.#attentions.shift() as Sense);
    }
    if (this.#reservation.excludes(this) && this.#isBarred(cdb, at)) return conflict;
    return this.#dispatch(code, cdb, at);
  }

  /** Whether another initiator's reservation stands against the command. */
  #isBarred(cdb: Uint8Array, at: number): boolean {
    const row: CommandRow | undefined = findRow(cdb[at] as number, (cdb[at + 1] as number) & 0x1f);
    if (row === undefined || row.ignoresReservation === true) return false;
    // Allowing removal does no harm to the holder; preventing it would.
    return !(
      row.opcode === opcode.preventAllowMediumRemoval && preventAllowCdb.decode(cdb, at).prevent === 0
    );
  }

  #unknown(code: number): PreparedCommand {
    return refuse(rowsOf(code).length > 0 ? sense.invalidFieldInCdb : sense.invalidOpcode);
  }

  #dispatch(code: number, cdb: Uint8Array, at: number): PreparedCommand {
    switch (code) {
      case opcode.read10:
        return media.prepareRead(media.range10(cdb, at), this.device);
      case opcode.write10:
        return media.prepareWrite(media.range10(cdb, at), this.device);
      case opcode.read16:
        return media.prepareRead(media.range16(cdb, at), this.device);
      case opcode.write16:
        return media.prepareWrite(media.range16(cdb, at), this.device);
      case opcode.read6:
        return media.prepareRead(media.range6(cdb, at), this.device);
      case opcode.write6:
        return media.prepareWrite(media.range6(cdb, at), this.device);
      case opcode.read12:
        return media.prepareRead(media.range12(cdb, at), this.device);
      case opcode.write12:
        return media.prepareWrite(media.range12(cdb, at), this.device);
      case opcode.verify10:
        return media.prepareVerify(media.range10(cdb, at), this.device);
      case opcode.verify12:
        return media.prepareVerify(media.range12(cdb, at), this.device);
      case opcode.verify16:
        return media.prepareVerify(media.range16(cdb, at), this.device);
      case opcode.synchronizeCache10:
        return media.prepareSynchronizeCache10(cdb, at, this.device);
      case opcode.synchronizeCache16:
        return media.prepareSynchronizeCache16(cdb, at, this.device);
      default:
        return this.#dispatchOther(code, cdb, at);
    }
  }

  #dispatchOther(code: number, cdb: Uint8Array, at: number): PreparedCommand {
    // Also turns away a known operation code with an unknown service action.
    if (findRow(code, (cdb[at + 1] as number) & 0x1f) === undefined) return this.#unknown(code);
    switch (code) {
      case opcode.testUnitReady:
      case opcode.preventAllowMediumRemoval:
        return accept;
      case opcode.startStopUnit:
        return prepareStartStop(cdb, at);
      case opcode.inquiry:
        return parameter.prepareInquiry(cdb, at, this.#identity);
      case opcode.requestSense:
        return this.#requestSense(cdb, at);
      case opcode.modeSense6:
        return parameter.prepareModeSense6(cdb, at, this.device);
      case opcode.modeSense10:
        return parameter.prepareModeSense10(cdb, at, this.device);
      case opcode.readCapacity10:
        return parameter.prepareReadCapacity10(cdb, at, this.device.lengthBlocks);
      case opcode.serviceActionIn16:
        return parameter.prepareReadCapacity16(cdb, at, this.device.lengthBlocks);
      case opcode.reportLuns:
        return parameter.prepareReportLuns(cdb, at, this.#luns);
      case opcode.maintenanceIn:
        return prepareReportSupportedOpcodes(cdb, at);
      case opcode.persistentReserveIn:
        return parameter.preparePersistentReserveIn(cdb, at);
      case opcode.reserve6:
        return this.#reservation.reserve(this) ? accept : conflict;
      case opcode.release6:
        this.#reservation.release(this);
        return accept;
      default:
        invariant(false, `operation code ${code} is in the command table and has no way to be carried out`);
    }
  }

  #requestSense(cdb: Uint8Array, at: number): PreparedCommand {
    const { descriptor, allocationLength } = requestSenseCdb.decode(cdb, at);
    const pending = this.#attentions.shift() ?? sense.none;
    return answer(descriptor ? encodeDescriptorSense(pending) : encodeSense(pending), allocationLength);
  }

  /**
   * Carries out a prepared command. `dataOut` holds what dataOutBytes() asked for and must not change.
   * Failures of the device are outcomes, also those it does not declare: one client's disk must not cost all
   * others their node.
   * @throws InvariantError, and nothing else
   */
  async run(command: PreparedCommand, dataOut: readonly Uint8Array[]): Promise<ScsiOutcome> {
    try {
      switch (command.kind) {
        case 'done':
          return command.outcome;
        case 'read':
          // FUA asks for data that would survive a power cut: make it so before reading (SBC-3 §5.10).
          if (command.forceUnitAccess && this.device.writeCacheEnabled) await this.device.flush();
          return {
            kind: 'good',
            dataIn: await this.device.read(command.lba, command.lengthBlocks),
            lengthBytes: command.lengthBlocks * LOGICAL_BLOCK_BYTES,
          };
        case 'write':
          await this.device.write(command.lba, dataOut, { forceUnitAccess: command.forceUnitAccess });
          return goodWithoutData;
        case 'flush':
          await this.device.flush();
          return goodWithoutData;
        case 'verify':
          return await this.#verify(command.lba, command.lengthBlocks);
        case 'compare':
          return await this.#compare(command, dataOut);
        default:
          return unreachable(command);
      }
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#logFailure(error, command);
      if (error instanceof DeviceError) return outcomeOf(error, command);
      return checkCondition(sense.internalTargetFailure);
    }
  }

  /** Says what an administrator should know of: data that is damaged, and errors nobody has thought of. */
  #logFailure(error: unknown, command: PreparedCommand): void {
    const expected = error instanceof DeviceError;
    if ((expected && error.kind !== 'medium-error') || this.#failures >= MAX_LOGGED_FAILURES) return;
    this.#failures++;
    const fields = {
      targetName: this.#identity.targetName,
      command: command.kind,
      ...('lba' in command ? { lba: command.lba, lengthBlocks: command.lengthBlocks } : {}),
      error: describeError(error),
    };
    if (expected) this.#logger.warn('scsi.medium-error', fields);
    else
      this.#logger.error('scsi.device.failed', {
        ...fields,
        stack: error instanceof Error ? error.stack : undefined,
      });
  }

  async #verify(lba: number, lengthBlocks: number): Promise<ScsiOutcome> {
    for (let done = 0; done < lengthBlocks; done += VERIFY_STEP_BLOCKS) {
      await this.device.read(lba + done, Math.min(VERIFY_STEP_BLOCKS, lengthBlocks - done));
    }
    return goodWithoutData;
  }

  async #compare(
    command: Extract<PreparedCommand, { kind: 'compare' }>,
    dataOut: readonly Uint8Array[],
  ): Promise<ScsiOutcome> {
    const expected = Buffer.concat(dataOut);
    const found = Buffer.concat(await this.device.read(command.lba, command.lengthBlocks));
    const period = command.repeated ? LOGICAL_BLOCK_BYTES : found.length;
    for (let at = 0; at < found.length; at += period) {
      if (expected.compare(found, at, at + period) === 0) continue;
      const differing = expected.findIndex((byte, i) => byte !== found[at + i]);
      return checkCondition({ ...sense.miscompare, information: at + differing });
    }
    return goodWithoutData;
  }
}

/** Nothing to spin up and nothing to eject: any power condition is accepted, a load or unload is not. */
function prepareStartStop(cdb: Uint8Array, at: number): PreparedCommand {
  const { powerCondition, loadEject } = startStopUnitCdb.decode(cdb, at);
  return powerCondition === 0 && loadEject ? refuse(sense.invalidFieldInCdb) : accept;
}

function outcomeOf(error: DeviceError, command: PreparedCommand): ScsiOutcome {
  const information = 'lba' in command ? { information: command.lba } : {};
  switch (error.kind) {
    case 'not-serving':
      return { kind: 'not-serving' };
    case 'out-of-range':
      return checkCondition({ ...sense.lbaOutOfRange, ...information });
    case 'read-only':
      return checkCondition(sense.writeProtected);
    case 'no-space':
      return checkCondition(sense.spaceAllocationFailed);
    case 'medium-error': {
      const writing = command.kind === 'write' || command.kind === 'flush';
      return checkCondition({ ...(writing ? sense.writeError : sense.unrecoveredReadError), ...information });
    }
    default:
      return unreachable(error.kind);
  }
}
