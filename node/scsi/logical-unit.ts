import { InvariantError, ProtocolError, unreachable } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import {
  type BlockDevice,
  DeviceError,
  LOGICAL_BLOCK_BYTES,
  type ReadMemory,
} from '../../storage/block-device.ts';
import { inactiveSense, SINGLE_PATH, type TargetPaths } from './access-state.ts';
import { forbidden, isBarred, isBarredFrom, judgedAgain, reservationConflict } from './admission.ts';
import { CDB_BYTES } from './cdb.ts';
import type { CommandContext, CopyUnit } from './command-context.ts';
import { type CommandRow, refuseUnusedBits } from './command-row.ts';
import { findRow, rowsOf } from './command-table.ts';
import { compareMedium, outcomeOf, verifyMedium } from './device-outcome.ts';
import { FailureLog } from './failure-log.ts';
import type { LogicalUnitIdentity } from './identity.ts';
import { nexusName } from './nexus-name.ts';
import {
  checkCondition,
  goodWithoutData,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from './prepared-command.ts';
import { sanitizeBars, sanitizeSense } from './request-sense.ts';
import { invalidCdbField, type Sense, sense } from './sense.ts';
import { UnitAttentions } from './unit-attention.ts';
import type { Nexus, UnitState } from './unit-state.ts';
import { prepareUsual } from './usual-command.ts';

export interface LogicalUnitOptions {
  readonly device: BlockDevice;
  readonly identity: LogicalUnitIdentity;
  /** Every LUN of the target, for REPORT LUNS. */
  readonly luns: readonly number[];
  /** Shared by all initiators of the unit. */
  readonly state: UnitState;
  /** Name of the initiator port: iSCSI name, ",i,0x", ISID in hexadecimal. */
  readonly initiatorPort: string;
  readonly logger: Logger;
  /** iSCSIProtocolLevel of the session; left out: 1, as where it was not negotiated. */
  readonly protocolLevel?: number;
  /** Left out where there is one way to the target. */
  readonly paths?: TargetPaths;
  /** The initiator's other units, by their NAA designator; left out where copies stay within this one. */
  readonly copyUnit?: (naa: Uint8Array) => CopyUnit | undefined;
  /** Has whoever serves the unit carry out a command that came by a path in standby; left out where nobody does. */
  readonly forward?: (cdb: Uint8Array, dataOut: Uint8Array) => Promise<ScsiOutcome>;
}

/**
 * One logical unit as one initiator sees it (an I_T_L nexus): the block device behind it, and the unit
 * attentions that this initiator has yet to be told of. Starts with the attention of a power on pending.
 */
export class LogicalUnit implements CommandContext, Nexus {
  readonly device: BlockDevice;
  readonly identity: LogicalUnitIdentity;
  readonly luns: readonly number[];
  readonly state: UnitState;
  /** Name of the nexus: the initiator's port and, unless it is the first, the target's. */
  readonly port: string;
  readonly paths: TargetPaths;
  readonly protocolLevel: number;
  readonly #failureLog: FailureLog;
  readonly #attentions = new UnitAttentions(sense.powerOn);
  readonly #otherCopyUnit: LogicalUnitOptions['copyUnit'];
  readonly #forward: LogicalUnitOptions['forward'];
  #lengthBlocks: number;
  #spaceWasLow = false;
  #hadWriteCache: boolean;
  #abortTasks: (() => Promise<void>) | undefined;

  constructor(options: LogicalUnitOptions) {
    this.device = options.device;
    this.identity = options.identity;
    this.luns = options.luns;
    this.state = options.state;
    this.paths = options.paths ?? SINGLE_PATH;
    this.protocolLevel = options.protocolLevel ?? 1;
    this.port = nexusName(options.initiatorPort, this.paths.ownPort);
    this.#failureLog = new FailureLog(options.identity.targetName, options.logger);
    this.#otherCopyUnit = options.copyUnit;
    this.#forward = options.forward;
    this.#lengthBlocks = options.device.lengthBlocks;
    this.#hadWriteCache = options.device.writeCacheEnabled;
    this.state.attach(this, this.device);
    if (this.isActive) this.state.resume();
  }

  get nexus(): Nexus {
    return this;
  }

  /** Says how its tasks are ended when another initiator preempts this one and has them aborted. */
  onAbortTasks(abort: () => Promise<void>): void {
    this.#abortTasks = abort;
  }

  async abortTasks(): Promise<void> {
    await this.#abortTasks?.();
  }

  /** Tells this initiator, with its next command, of something that happened to the unit (SAM-5 §5.14). */
  raiseAttention(attention: Sense): void {
    this.#attentions.raise(attention);
  }

  /** Whether the path may carry every command. */
  get isActive(): boolean {
    return inactiveSense(this.paths) === undefined;
  }

  /** The access state of a path has changed, this one's or another's (SPC-4 §5.15.2.5). */
  accessChanged(): void {
    this.raiseAttention(sense.accessStateChanged);
    if (this.isActive) this.state.resume();
  }

  /** The attention it will be told of next, which stays pending, and how many there are. */
  get pendingAttentions(): { readonly next: Sense | undefined; readonly count: number } {
    return { next: this.#attentions.next, count: this.#attentions.count };
  }

  copyUnit(naa: Uint8Array): CopyUnit | undefined {
    return Buffer.compare(naa, this.identity.naa) === 0 ? this : this.#otherCopyUnit?.(naa);
  }

  refusesCopy(access: 'read' | 'write'): Sense | undefined {
    if (!this.isActive) return sense.copyTargetNotReachable;
    const { reservation, server } = this.state;
    const isKeptOut = reservation.excludes(this) || isBarredFrom(access, this);
    const isProtected = access === 'write' && (this.device.readOnly || server.modes.softwareWriteProtect);
    if (isKeptOut || isProtected || sanitizeSense(this) !== undefined) return sense.thirdPartyDeviceFailure;
    return undefined;
  }

  takeAttention(): Sense | undefined {
    return this.#attentions.take();
  }

  /** Gives up what this initiator holds only for as long as its session; that has ended. */
  detach(): void {
    this.state.detach(this);
  }

  /** Ends any reservation by RESERVE(6), as a reset of the unit does. Persistent ones stay. */
  resetReservation(): void {
    this.state.reservation.reset();
  }

  /**
   * Checks the CDB at `at`, of which 16 bytes must be present, and carries it out unless it needs the device.
   * Takes a pending unit attention when the command reports one.
   */
  prepare(cdb: Uint8Array, at: number): PreparedCommand {
    try {
      return this.#prepare(cdb, at);
    } catch (error) {
      // The state that the unit was left in cannot be read: nobody knows who may do what with it.
      if (!(error instanceof ProtocolError)) throw error;
      this.#failureLog.note(error, { kind: 'flush' });
      return refuse(sense.internalTargetFailure);
    }
  }

  #prepare(cdb: Uint8Array, at: number): PreparedCommand {
    if (this.device.lengthBlocks !== this.#lengthBlocks) this.#noteResize();
    if (this.device.spaceIsLow !== this.#spaceWasLow) this.#noteSpace(cdb, at);
    if (this.device.writeCacheEnabled !== this.#hadWriteCache) this.#noteWriteCache();
    // READ and WRITE come by the hundred thousand; they need no row once nothing stands in their way.
    if (this.#attentions.count === 0 && !this.state.isGuarded && this.isActive) {
      const command = prepareUsual(cdb, at, this.device);
      if (command !== undefined) return command;
    }
    return this.#prepareByTable(cdb, at);
  }

  /** An administrator has changed when writes are acknowledged, and with it WCE of the caching mode page. */
  #noteWriteCache(): void {
    this.#hadWriteCache = this.device.writeCacheEnabled;
    this.raiseAttention(sense.modeParametersChanged);
  }

  #noteResize(): void {
    this.#lengthBlocks = this.device.lengthBlocks;
    this.raiseAttention(sense.capacityChanged);
  }

  /**
   * The soft threshold of thin provisioning (SBC-3 §4.7.3.7), told once each time that it is reached, to those who
   * write.
   */
  #noteSpace(cdb: Uint8Array, at: number): void {
    const row = findRow(cdb[at] as number, (cdb[at + 1] as number) & 0x1f);
    if (row?.altersMedium !== true) return;
    this.#spaceWasLow = this.device.spaceIsLow;
    if (this.#spaceWasLow) this.raiseAttention(sense.thresholdReached);
  }

  #prepareByTable(cdb: Uint8Array, at: number): PreparedCommand {
    const code = cdb[at] as number;
    const row = findRow(code, (cdb[at + 1] as number) & 0x1f);
    // An unknown command is invalid before it is anything else, and leaves an attention pending.
    if (row === undefined) {
      return refuse(rowsOf(code).length > 0 ? invalidCdbField(1, 4) : sense.invalidOpcode);
    }
    const inactive = this.#inactiveFor(row);
    const isKeptOut = inactive === undefined && isBarred(row, cdb, at, this);
    // A conflict comes before what it may be explained by, but not before a reset (SAM-5 §5.3.3).
    if (row.ignoresUnitAttention !== true && (!isKeptOut || this.#attentions.tellOfReset)) {
      const attention = this.#attentions.take();
      if (attention !== undefined) return refuse(attention);
    }
    if (inactive !== undefined) return this.#passOn(row, cdb, at, inactive);
    if (isKeptOut) return reservationConflict(this);
    const notReady = sanitizeBars(this, row.duringSanitize);
    if (notReady !== undefined) return refuse(notReady);
    if (row.altersMedium === true) {
      if (this.device.readOnly) return refuse(sense.writeProtected);
      if (this.state.server.modes.softwareWriteProtect) return refuse(sense.softwareWriteProtected);
    }
    return refuseUnusedBits(row, cdb, at) ?? judgedAgain(row, row.prepare(cdb, at, this), this);
  }

  /** What a path in standby does with a command that changes, or depends on, what only the primary can change. */
  #passOn(row: CommandRow, cdb: Uint8Array, at: number, inactive: Sense): PreparedCommand {
    const forward = this.#forward;
    const isTaken = inactive === sense.portInStandby && row.whileInactive === 'forwarded';
    if (!isTaken || forward === undefined) return refuse(inactive);
    const command = refuseUnusedBits(row, cdb, at) ?? row.prepare(cdb, at, this);
    if (command.kind !== 'operation') return command;
    // It outlives the chunk that it came in.
    const own = Uint8Array.from(cdb.subarray(at, at + CDB_BYTES));
    return { ...command, carryOut: (dataOut) => forward(own, dataOut) };
  }

  /** Why the path cannot carry the command in the state it is in. */
  #inactiveFor({ whileInactive }: CommandRow): Sense | undefined {
    if (whileInactive === 'any') return undefined;
    const inactive = inactiveSense(this.paths);
    return whileInactive === 'standby' && inactive === sense.portInStandby ? undefined : inactive;
  }

  /** Has sense data sent in descriptor format where that is what the initiators want. */
  inFormat(outcome: ScsiOutcome): ScsiOutcome {
    if (outcome.kind !== 'check-condition' || !this.state.wantsDescriptorSense) return outcome;
    return { ...outcome, descriptorFormat: true };
  }

  /**
   * The outcome of a prepared command that needs nothing but what is in memory; undefined where run() has to
   * find out.
   * @param memory what has to be copied for a read lies there, and is valid as long as its owner says
   */
  runNow(command: PreparedCommand, memory?: ReadMemory): ScsiOutcome | undefined {
    if (command.kind === 'done') return this.inFormat(command.outcome);
    if (command.kind !== 'read' || command.forceUnitAccess) return undefined;
    const dataIn = this.device.readNow?.(command.lba, command.lengthBlocks, memory);
    if (dataIn === undefined) return undefined;
    return { kind: 'good', dataIn, lengthBytes: command.lengthBlocks * LOGICAL_BLOCK_BYTES };
  }

  /**
   * Begins a prepared write that has nothing to wait for; the data may change as soon as this returns.
   * @param ended told the outcome, never before this returns
   * @returns false where run() has to do it; nothing has happened then
   */
  beginWrite(
    command: Extract<PreparedCommand, { kind: 'write' }>,
    dataOut: readonly Uint8Array[],
    ended: (outcome: ScsiOutcome) => void,
  ): boolean {
    const { state, device } = this;
    if (device.beginWrite === undefined || command.verify !== undefined || state.isGuarded) return false;
    if (!state.gate.enterNow()) return false;
    const forceUnitAccess = command.forceUnitAccess || state.isWriteThrough;
    const hasBegun = device.beginWrite(command.lba, dataOut, { forceUnitAccess }, (error) => {
      state.gate.leave();
      ended(error === undefined ? goodWithoutData : this.#failed(error, command));
    });
    if (!hasBegun) state.gate.leave();
    return hasBegun;
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
          return this.inFormat(command.outcome);
        case 'read':
          // FUA asks for data that would survive a power cut: make it so before reading (SBC-3 §5.10).
          if (command.forceUnitAccess && this.device.writeCacheEnabled) await this.device.flush();
          return {
            kind: 'good',
            dataIn: await this.device.read(command.lba, command.lengthBlocks),
            lengthBytes: command.lengthBlocks * LOGICAL_BLOCK_BYTES,
          };
        case 'write':
          return this.inFormat(await this.#write(command, dataOut));
        case 'flush':
          await this.device.flush();
          return goodWithoutData;
        case 'verify':
          return await verifyMedium(this.device, command.lba, command.lengthBlocks);
        case 'compare':
          return this.inFormat(await compareMedium(this.device, command, dataOut));
        case 'operation': {
          const data = dataOut.length === 1 ? (dataOut[0] as Uint8Array) : Buffer.concat(dataOut);
          return this.inFormat(await command.carryOut(data));
        }
        default:
          return unreachable(command);
      }
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      return this.#failed(error, command);
    }
  }

  #failed(error: unknown, command: PreparedCommand): ScsiOutcome {
    this.#failureLog.note(error, command);
    if (error instanceof DeviceError) return this.inFormat(outcomeOf(error, command));
    return this.inFormat(checkCondition(sense.internalTargetFailure));
  }

  async #write(
    command: Extract<PreparedCommand, { kind: 'write' }>,
    dataOut: readonly Uint8Array[],
  ): Promise<ScsiOutcome> {
    const { state, device } = this;
    const waiting = state.gate.enter();
    if (waiting !== undefined) await waiting;
    try {
      // Its data may have been long in coming.
      const refusal = forbidden(this);
      if (refusal !== undefined) return await refusal;
      const forceUnitAccess = command.forceUnitAccess || state.isWriteThrough;
      await device.write(command.lba, dataOut, { forceUnitAccess });
    } finally {
      state.gate.leave();
    }
    if (command.verify === undefined) return goodWithoutData;
    return command.verify === 'medium'
      ? verifyMedium(device, command.lba, command.lengthBlocks)
      : compareMedium(device, { ...command, repeated: false }, dataOut);
  }
}
