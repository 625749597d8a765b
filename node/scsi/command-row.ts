import type { CommandHandler } from './command-context.ts';
import type { MediumAccess } from './persistent-reservation.ts';
import { type PreparedCommand, refuse } from './prepared-command.ts';
import { invalidCdbField } from './sense.ts';

/** One command the unit supports: what is told of it, what stands in its way, and who checks its CDB. */
export interface CommandRow extends CommandTraits {
  readonly name: string;
  readonly opcode: number;
  /** Only where the operation code alone does not say which command it is. */
  readonly serviceAction: number | undefined;
  /**
   * CDB usage data (SPC-4 §6.34.3): a one for each bit the command looks at; the first byte is the operation
   * code. A bit that is zero here must be zero in the CDB.
   */
  readonly usage: Uint8Array;
  /** What it does with the medium, as far as another nexus's reservation is concerned. */
  readonly access: MediumAccess;
  readonly prepare: CommandHandler;
}

interface CommandTraits {
  /** Refused where the medium, or the software, is write-protected. */
  readonly altersMedium?: true;
  /** Carried out although another initiator holds a reservation by RESERVE(6) (SPC-2 table 9). */
  readonly ignoresReservation?: true;
  /** Carried out although a unit attention is pending (SAM-5 §5.14). */
  readonly ignoresUnitAttention?: true;
  /**
   * Carried out although the path is not active (SPC-4 §5.15.2.4): only while it is in standby, or in any state; forwarded: in
   * standby, but by whoever serves the unit.
   */
  readonly whileInactive?: 'standby' | 'any' | 'forwarded';
  /** Carried out while a sanitize operation is under way, or has failed (SBC-3 §4.11.3); or only where it has failed. */
  readonly duringSanitize?: true | 'failed';
}

export function row(
  name: string,
  code: number,
  action: number | undefined,
  usage: string,
  access: MediumAccess,
  prepare: CommandHandler,
  traits: CommandTraits = {},
): CommandRow {
  return {
    name,
    opcode: code,
    serviceAction: action,
    usage: Buffer.from(usage, 'hex'),
    access,
    prepare,
    ...traits,
  };
}

/** Bits that are reserved, or that the unit has no use for, must be zero (SPC-4 §4.2.5). */
export function refuseUnusedBits(
  { usage }: CommandRow,
  cdb: Uint8Array,
  at: number,
): PreparedCommand | undefined {
  for (let i = 1; i < usage.length; i++) {
    const unused = (cdb[at + i] as number) & ~(usage[i] as number);
    if (unused !== 0) return refuse(invalidCdbField(i, 31 - Math.clz32(unused)));
  }
  return undefined;
}
