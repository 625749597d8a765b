import { ByteWriter } from '../../base/byte-writer.ts';
import { reportSupportedOpcodesCdb, reportSupportedTaskManagementCdb } from './cdb.ts';
import type { CommandRow } from './command-row.ts';
import { answer, type PreparedCommand, refuse } from './prepared-command.ts';
import { invalidCdbField } from './sense.ts';

/** REPORT SUPPORTED OPERATION CODES (SPC-4 §6.34), answered from the command table itself. */

export interface CommandLookup {
  readonly commandTable: readonly CommandRow[];
  readonly rowsOf: (code: number) => readonly CommandRow[];
  readonly findRow: (code: number, action: number) => CommandRow | undefined;
}

const reportingOption = { all: 0, opcodeOnly: 1, opcodeAndServiceAction: 2, either: 3 } as const;
const support = { notSupported: 1, standard: 3 } as const;
const TIMEOUTS_DESCRIPTOR_BYTES = 12;

export function prepareReportSupportedOpcodes(
  cdb: Uint8Array,
  at: number,
  { commandTable, rowsOf, findRow }: CommandLookup,
): PreparedCommand {
  const question = reportSupportedOpcodesCdb.decode(cdb, at);
  const { reportingOptions, requestedOpcode, requestedServiceAction, timeouts, allocationLength } = question;
  const hasActions = rowsOf(requestedOpcode).some((row) => row.serviceAction !== undefined);
  switch (reportingOptions) {
    case reportingOption.all:
      return answer(encodeAll(commandTable, timeouts), allocationLength);
    case reportingOption.opcodeOnly:
      if (hasActions) return refuse(invalidCdbField(2, 2));
      return answer(encodeOne(findRow(requestedOpcode, 0), timeouts), allocationLength);
    case reportingOption.opcodeAndServiceAction:
      if (!hasActions) return refuse(invalidCdbField(2, 2));
      return answer(encodeOne(findRow(requestedOpcode, requestedServiceAction), timeouts), allocationLength);
    case reportingOption.either: {
      const row = findRow(requestedOpcode, requestedServiceAction);
      const fits = hasActions || requestedServiceAction === 0;
      return answer(encodeOne(fits ? row : undefined, timeouts), allocationLength);
    }
    default:
      return refuse(invalidCdbField(2, 2));
  }
}

function encodeAll(commandTable: readonly CommandRow[], timeouts: boolean): Uint8Array {
  const descriptorBytes = 8 + (timeouts ? TIMEOUTS_DESCRIPTOR_BYTES : 0);
  const out = new ByteWriter(1024).u32(commandTable.length * descriptorBytes);
  for (const row of commandTable) {
    const flags = (timeouts ? 0x02 : 0) | (row.serviceAction === undefined ? 0 : 0x01);
    out
      .u8(row.opcode)
      .u8(0)
      .u16(row.serviceAction ?? 0);
    out.u8(0).u8(flags).u16(row.usage.length);
    if (timeouts) encodeTimeouts(out);
  }
  return out.finish();
}

function encodeOne(row: CommandRow | undefined, timeouts: boolean): Uint8Array {
  const out = new ByteWriter(64);
  if (row === undefined) return out.u8(0).u8(support.notSupported).u16(0).finish();
  const { usage } = row;
  out
    .u8(0)
    .u8((timeouts ? 0x80 : 0) | support.standard)
    .u16(usage.length)
    .bytes(usage);
  if (timeouts) encodeTimeouts(out);
  return out.finish();
}

/** No timeout is indicated. */
function encodeTimeouts(out: ByteWriter): void {
  out.u16(TIMEOUTS_DESCRIPTOR_BYTES - 2).zeros(TIMEOUTS_DESCRIPTOR_BYTES - 2);
}

/** ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK, target reset. */
const TASK_MANAGEMENT = 0xde;
/** QUERY ASYNCHRONOUS EVENT, QUERY TASK SET, I_T NEXUS RESET. */
const MORE_TASK_MANAGEMENT = 0x07;

/** REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 §6.35). */
export function prepareReportSupportedTaskManagement(cdb: Uint8Array, at: number): PreparedCommand {
  const { extended, allocationLength } = reportSupportedTaskManagementCdb.decode(cdb, at);
  if (allocationLength < 4) return refuse(invalidCdbField(6));
  // The extended form adds timeouts, none of which is indicated.
  if (!extended) return answer(Uint8Array.of(TASK_MANAGEMENT, MORE_TASK_MANAGEMENT, 0, 0), allocationLength);
  return answer(
    new ByteWriter(16).u8(TASK_MANAGEMENT).u8(MORE_TASK_MANAGEMENT).u8(0).u8(12).zeros(12).finish(),
    allocationLength,
  );
}
