import { blockCommands } from './block-commands.ts';
import { opcode, serviceAction } from './cdb.ts';
import { type CommandRow, row } from './command-row.ts';
import { primaryCommands } from './primary-commands.ts';
import { prepareReportSupportedOpcodes } from './supported-opcodes.ts';

/** Every command the unit supports, by operation code: what is not here is refused. */
export const commandTable: readonly CommandRow[] = [
  ...primaryCommands,
  ...blockCommands,
  row(
    'REPORT SUPPORTED OPERATION CODES',
    opcode.maintenanceIn,
    serviceAction.reportSupportedOpcodes,
    'a31f87ffffffffffffff0000',
    'write',
    (cdb, at) => prepareReportSupportedOpcodes(cdb, at, { commandTable, rowsOf, findRow }),
    { duringSanitize: true, whileInactive: 'standby' },
  ),
].sort((a, b) => a.opcode - b.opcode);

const BY_OPCODE: readonly (readonly CommandRow[])[] = Array.from({ length: 256 }, (_, code) =>
  commandTable.filter((each) => each.opcode === code),
);

/** Rows with an operation code: none when it is unknown, several when service actions tell them apart. */
export function rowsOf(code: number): readonly CommandRow[] {
  return BY_OPCODE[code] ?? [];
}

/** @param action low five bits of byte 1, which are a service action for some operation codes only */
export function findRow(code: number, action: number): CommandRow | undefined {
  const rows = rowsOf(code);
  return rows.find((each) => each.serviceAction === undefined || each.serviceAction === action);
}
