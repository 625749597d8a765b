import type { Timers } from '../../../../base/clock.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { LogicalUnit, type LogicalUnitOptions } from '../../../../node/scsi/logical-unit.ts';
import {
  dataOutBytes,
  type PreparedCommand,
  type ScsiOutcome,
} from '../../../../node/scsi/prepared-command.ts';
import type { Sense } from '../../../../node/scsi/sense.ts';
import { UnitState } from '../../../../node/scsi/unit-state.ts';
import { MemoryDevice } from '../iscsi/memory-device.ts';
import { IDENTITY, INITIATOR, TARGET } from '../iscsi/target-fixture.ts';

/** Timers that do not wait. */
const hasty: Timers = {
  setTimer: (_, fire) => {
    const immediate = setImmediate(fire);
    return () => clearImmediate(immediate);
  },
};

export function portName(isid: number): string {
  return `${INITIATOR},i,0x${isid.toString(16).padStart(12, '0')}`;
}

/** A unit in memory, with as many initiators as are asked for; their first unit attentions are taken. */
export class UnitFixture {
  readonly device: MemoryDevice;
  state: UnitState;
  readonly #timers: Timers;

  constructor(lengthBlocks = 1024, timers = hasty) {
    this.device = new MemoryDevice(lengthBlocks);
    this.#timers = timers;
    this.state = this.#newState();
  }

  #newState(): UnitState {
    return new UnitState(this.device, { timers: this.#timers, logger: silentLogger });
  }

  /** As by another node: what was only in the device server's memory is gone. */
  takeOver(): void {
    this.state = this.#newState();
  }

  initiator(isid = 1, more: Pick<LogicalUnitOptions, 'copyUnit'> = {}): LogicalUnit {
    const unit = new LogicalUnit({
      ...more,
      device: this.device,
      identity: { ...IDENTITY, targetName: TARGET },
      luns: [0],
      state: this.state,
      initiatorPort: portName(isid),
      logger: silentLogger,
    });
    unit.takeAttention();
    return unit;
  }
}

export function prepare(unit: LogicalUnit, cdb: string): PreparedCommand {
  return unit.prepare(Buffer.from(cdb.replaceAll(' ', '').padEnd(32, '0'), 'hex'), 0);
}

/** @param data cut to, or filled up to, what the command asks for */
export function run(
  unit: LogicalUnit,
  cdb: string,
  data: Uint8Array = new Uint8Array(),
): Promise<ScsiOutcome> {
  const command = prepare(unit, cdb);
  const given = Buffer.alloc(dataOutBytes(command));
  given.set(data.subarray(0, given.length));
  return unit.run(command, [given]);
}

export async function senseOf(unit: LogicalUnit, cdb: string, data?: Uint8Array): Promise<Sense | undefined> {
  const outcome = await run(unit, cdb, data);
  return outcome.kind === 'check-condition' ? outcome.sense : undefined;
}

export async function dataOf(unit: LogicalUnit, cdb: string): Promise<Buffer> {
  const outcome = await run(unit, cdb);
  if (outcome.kind !== 'good') throw new Error(`not good: ${JSON.stringify(outcome)}`);
  return Buffer.concat(outcome.dataIn);
}

/** A number in big-endian hexadecimal. */
export function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(bytes * 2, '0');
}

/** Parameter list of an EXTENDED COPY of a block of the unit onto its first: 76 bytes in hexadecimal. */
export const COPY_LIST = [
  `0500 0020 00000000 0000001c 00000000`,
  `e4000000 01030008 3000000000000001 ${'00'.repeat(12)} 00000200`,
  `02000018 0000 0000 0000 0001 ${hex(8, 8)} ${hex(0, 8)}`,
].join('');
