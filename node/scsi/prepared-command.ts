import { invariant } from '../../base/errors.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import type { Sense } from './sense.ts';

/** SAM-5 status codes. */
export const scsiStatus = { good: 0x00, checkCondition: 0x02, reservationConflict: 0x18 } as const;

/** How a command ended. */
export type ScsiOutcome =
  | { readonly kind: 'good'; readonly dataIn: readonly Uint8Array[]; readonly lengthBytes: number }
  | { readonly kind: 'check-condition'; readonly sense: Sense }
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
  | { readonly kind: 'flush' };

const NO_DATA: readonly Uint8Array[] = [];
export const goodWithoutData: ScsiOutcome = { kind: 'good', dataIn: NO_DATA, lengthBytes: 0 };

export function checkCondition(sense: Sense): ScsiOutcome {
  return { kind: 'check-condition', sense };
}

/** Parameter data, cut to what the initiator has allocated for it. */
export function answer(data: Uint8Array, allocationLength: number): PreparedCommand {
  const cut = data.subarray(0, allocationLength);
  return { kind: 'done', outcome: { kind: 'good', dataIn: [cut], lengthBytes: cut.length } };
}

export function refuse(sense: Sense): PreparedCommand {
  return { kind: 'done', outcome: checkCondition(sense) };
}

export const accept: PreparedCommand = { kind: 'done', outcome: goodWithoutData };

/** Bytes the initiator has to send for the command. */
export function dataOutBytes(command: PreparedCommand): number {
  if (command.kind === 'write') return command.lengthBlocks * LOGICAL_BLOCK_BYTES;
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
