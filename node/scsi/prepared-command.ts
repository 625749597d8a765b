import { invariant } from '../../base/errors.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import type { Sense } from './sense.ts';

/** SAM-5 status codes. */
export const scsiStatus = { good: 0x00, checkCondition: 0x02, reservationConflict: 0x18 } as const;

/** How a command ended. */
export type ScsiOutcome =
  | { readonly kind: 'good'; readonly dataIn: readonly Uint8Array[]; readonly lengthBytes: number }
  | {
      readonly kind: 'check-condition';
      readonly sense: Sense;
      /** Told in descriptor format (D_SENSE in the Control mode page). */
      readonly descriptorFormat?: true;
    }
  | { readonly kind: 'reservation-conflict' }
  /** This node may not answer for the unit any more: the session goes, without a word. */
  | { readonly kind: 'not-serving' };

/** A CDB that was checked: either already answered or what it wants of the block device. */
export type PreparedCommand =
  | { readonly kind: 'done'; readonly outcome: ScsiOutcome }
  | {
      readonly kind: 'read';
      readonly lba: number;
      readonly lengthBlocks: number;
      readonly forceUnitAccess: boolean;
    }
  | {
      readonly kind: 'write';
      readonly lba: number;
      readonly lengthBlocks: number;
      readonly forceUnitAccess: boolean;
      /** WRITE AND VERIFY: afterwards the blocks must be readable, or with "data" hold what was written. */
      readonly verify?: 'medium' | 'data';
    }
  /** VERIFY with BYTCHK: the data must equal the blocks; with `repeated`, one block of data stands for each. */
  | {
      readonly kind: 'compare';
      readonly lba: number;
      readonly lengthBlocks: number;
      readonly repeated: boolean;
    }
  /** VERIFY without data: the blocks must be readable. */
  | { readonly kind: 'verify'; readonly lba: number; readonly lengthBlocks: number }
  | { readonly kind: 'flush' }
  | Operation;

/** Any other command that takes time or data. */
export interface Operation {
  readonly kind: 'operation';
  /** For logs. */
  readonly name: string;
  /** Where it begins, for the INFORMATION field of a failure. */
  readonly lba?: number;
  readonly dataOutBytes: number;
  /** Refused unless the initiator sends exactly that much. */
  readonly exactData?: true;
  /** Goes on although the task that asked for it is aborted, which then need not wait for it. */
  readonly outlivesTask?: true;
  /** @throws DeviceError */
  carryOut(dataOut: Uint8Array): ScsiOutcome | Promise<ScsiOutcome>;
}

const NO_DATA: readonly Uint8Array[] = [];
export const goodWithoutData: ScsiOutcome = { kind: 'good', dataIn: NO_DATA, lengthBytes: 0 };

export function checkCondition(sense: Sense): ScsiOutcome {
  return { kind: 'check-condition', sense };
}

export const conflict: ScsiOutcome = { kind: 'reservation-conflict' };

/** Parameter data as the outcome of an operation, cut to what the initiator has allocated for it. */
export function goodWith(data: Uint8Array, allocationLength: number): ScsiOutcome {
  const cut = data.subarray(0, allocationLength);
  return { kind: 'good', dataIn: [cut], lengthBytes: cut.length };
}

/** Parameter data, cut to what the initiator has allocated for it. */
export function answer(data: Uint8Array, allocationLength: number): PreparedCommand {
  return { kind: 'done', outcome: goodWith(data, allocationLength) };
}

export function refuse(sense: Sense): PreparedCommand {
  return { kind: 'done', outcome: checkCondition(sense) };
}

export const accept: PreparedCommand = { kind: 'done', outcome: goodWithoutData };

/** Bytes the initiator has to send for the command. */
export function dataOutBytes(command: PreparedCommand): number {
  if (command.kind === 'write') return command.lengthBlocks * LOGICAL_BLOCK_BYTES;
  if (command.kind === 'operation') return command.dataOutBytes;
  if (command.kind !== 'compare') return 0;
  return (command.repeated ? 1 : command.lengthBlocks) * LOGICAL_BLOCK_BYTES;
}

/** Bytes a read hands out; parameter data is already at hand and counts as what it is. */
export function dataInBytes(command: PreparedCommand): number {
  if (command.kind === 'read') return command.lengthBlocks * LOGICAL_BLOCK_BYTES;
  if (command.kind !== 'done' || command.outcome.kind !== 'good') return 0;
  invariant(command.outcome.lengthBytes >= 0, 'a negative length of data');
  return command.outcome.lengthBytes;
}
