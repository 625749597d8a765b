import type { ScsiOutcome } from '../../../node/scsi/prepared-command.ts';
import { sense, senseKey } from '../../../node/scsi/sense.ts';
import { describeReservation } from './unit-models.ts';

/** A command as it goes to the target. */
export interface UnitCommand {
  readonly cdb: Uint8Array;
  readonly dataOut: Uint8Array;
}

const NOTHING = new Uint8Array();
const FULL_STATUS_BYTES = 4096;

export function read(lba: number, lengthBlocks: number): UnitCommand {
  return { cdb: cdbOf(`28 00 ${hex(lba, 4)} 00 ${hex(lengthBlocks, 2)} 00`), dataOut: NOTHING };
}

export function write(lba: number, lengthBlocks: number, data: Uint8Array): UnitCommand {
  return { cdb: cdbOf(`2a 00 ${hex(lba, 4)} 00 ${hex(lengthBlocks, 2)} 00`), dataOut: data };
}

export function writeAtomic(lba: number, lengthBlocks: number, data: Uint8Array): UnitCommand {
  return { cdb: cdbOf(`9c 00 ${hex(lba, 8)} 0000 ${hex(lengthBlocks, 2)} 00 00`), dataOut: data };
}

export function compareAndWrite(lba: number, from: Uint8Array, to: Uint8Array): UnitCommand {
  return { cdb: cdbOf(`89 00 ${hex(lba, 8)} 000000 01 00 00`), dataOut: Buffer.concat([from, to]) };
}

export const RESERVE_OUT = {
  reserve: 1,
  release: 2,
  clear: 3,
  preemptAndAbort: 5,
  registerIgnoring: 6,
} as const;

export function reserveOut(
  action: keyof typeof RESERVE_OUT,
  { key, actionKey = 0, type = 0 }: { key: number; actionKey?: number; type?: number },
): UnitCommand {
  const dataOut = Buffer.from(`${hex(key, 8)}${hex(actionKey, 8)}${'00'.repeat(8)}`, 'hex');
  return { cdb: cdbOf(`5f ${hex(RESERVE_OUT[action], 1)} ${hex(type, 1)} 0000 ${hex(24, 4)} 00`), dataOut };
}

export const fullStatus: UnitCommand = {
  cdb: cdbOf(`5e 03 0000000000 ${hex(FULL_STATUS_BYTES, 2)} 00`),
  dataOut: NOTHING,
};

/** READ FULL STATUS (SPC-4 §6.15.5), as the model says it. @param names of initiators, by key */
export function statusOf(data: Uint8Array, names: ReadonlyMap<number, string>): string {
  const bytes = Buffer.from(data);
  const registered: string[] = [];
  let holder: string | undefined;
  let type = 0;
  for (let at = 8; at < 8 + bytes.readUInt32BE(4); at += 24 + bytes.readUInt32BE(at + 20)) {
    const name = names.get(bytes.readUInt32BE(at + 4)) ?? 'nobody';
    registered.push(name);
    if (bytes.readUInt8(at + 12) !== 1) continue;
    holder = name;
    type = bytes.readUInt8(at + 13);
  }
  return describeReservation({ registered, holder, type });
}

/** How a command ended, as models say it. */
export type Ending =
  | { readonly kind: 'good'; readonly data: Buffer }
  | { readonly kind: 'conflict' | 'differs' | 'refused' }
  /** It has not been carried out, and says nothing of the unit. */
  | { readonly kind: 'not-done' }
  /** Whether it has been carried out is not known. */
  | { readonly kind: 'unknown' };

export function endingOf(outcome: ScsiOutcome | undefined): Ending {
  if (outcome === undefined || outcome.kind === 'not-serving') return { kind: 'unknown' };
  if (outcome.kind === 'good') return { kind: 'good', data: Buffer.concat(outcome.dataIn) };
  if (outcome.kind === 'reservation-conflict') return { kind: 'conflict' };
  if (outcome.sense.key === senseKey.unitAttention) return { kind: 'not-done' };
  if (outcome.sense.key === senseKey.miscompare) return { kind: 'differs' };
  return { kind: outcome.sense.asc === sense.invalidRelease.asc ? 'refused' : 'unknown' };
}

function cdbOf(text: string): Uint8Array {
  return Buffer.from(text.replaceAll(' ', '').padEnd(32, '0'), 'hex');
}

function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(2 * bytes, '0');
}
