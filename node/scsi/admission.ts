import { inactiveSense } from './access-state.ts';
import { opcode, preventAllowCdb, startStopUnitCdb } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import type { CommandRow } from './command-row.ts';
import { confirmServing } from './confirmation.ts';
import { bars, type MediumAccess } from './persistent-reservation.ts';
import { checkCondition, conflict, type PreparedCommand, type ScsiOutcome } from './prepared-command.ts';
import { sanitizeBars } from './request-sense.ts';
import { sense } from './sense.ts';

/** What keeps a command from a unit that others share: their reservations, and what was forbidden to all meanwhile. */

/** Whether another initiator's reservation stands against the command. */
export function isBarred(row: CommandRow, cdb: Uint8Array, at: number, unit: CommandContext): boolean {
  const byReserve6 = row.ignoresReservation !== true && isBarredByReserve6(row, unit);
  if (!byReserve6 && !isBarredFrom(row.access, unit)) return false;
  // These do no harm to the holder: allowing removal, and starting the unit.
  if (row.opcode === opcode.preventAllowMediumRemoval) return preventAllowCdb.decode(cdb, at).prevent !== 0;
  if (byReserve6 || row.opcode !== opcode.startStopUnit) return true;
  const { start, powerCondition } = startStopUnitCdb.decode(cdb, at);
  return !start || powerCondition !== 0;
}

/** Persistent ones do not mix with it, not even by the one that holds it (SPC-2 §7.12.1, §7.13.1). */
function isBarredByReserve6(row: CommandRow, { state, nexus }: CommandContext): boolean {
  const isPersistent =
    row.opcode === opcode.persistentReserveIn || row.opcode === opcode.persistentReserveOut;
  return isPersistent ? state.reservation.isHeld : state.reservation.excludes(nexus);
}

/** Whether a persistent reservation of another nexus stands against such access. */
export function isBarredFrom(access: MediumAccess, { state, nexus }: CommandContext): boolean {
  return bars(state.server.reservations, nexus.port, access);
}

/** RESERVATION CONFLICT, but not by a node that another has followed: there the reservation may be gone. */
export function reservationConflict(unit: CommandContext): PreparedCommand {
  // Where the unit is not served its reservations are as the copy has them.
  if (inactiveSense(unit.paths) !== undefined) return { kind: 'done', outcome: conflict };
  const carryOut = () => confirmedConflict(unit);
  return { kind: 'operation', name: 'reservation-conflict', dataOutBytes: 0, carryOut };
}

async function confirmedConflict({ device }: CommandContext): Promise<ScsiOutcome> {
  await confirmServing(device);
  return conflict;
}

/** A command whose data may be long in coming: what was allowed when it came may be forbidden by then. */
export function judgedAgain(
  row: CommandRow,
  command: PreparedCommand,
  unit: CommandContext,
): PreparedCommand {
  if (command.kind !== 'operation' || row.altersMedium !== true || command.dataOutBytes === 0) return command;
  return { ...command, carryOut: (data) => forbidden(unit, row) ?? command.carryOut(data) };
}

/** Why the unit may not be written to as it is now, if so; rejects with DeviceError kind "not-serving". */
export function forbidden(
  unit: CommandContext,
  row?: CommandRow,
): ScsiOutcome | Promise<ScsiOutcome> | undefined {
  const { state, nexus } = unit;
  if (!state.isGuarded) return undefined;
  if (state.reservation.excludes(nexus) || isBarredFrom('write', unit)) return confirmedConflict(unit);
  const notReady = sanitizeBars(unit, row?.duringSanitize);
  if (notReady !== undefined) return checkCondition(notReady);
  return state.server.modes.softwareWriteProtect ? checkCondition(sense.softwareWriteProtected) : undefined;
}
