import { ByteWriter } from '../../base/byte-writer.ts';
import { reportSupportedOpcodesCdb, reportSupportedTaskManagementCdb } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
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
const SERVICE_ACTION_BITS = 0x1f;

export function prepareReportSupportedOpcodes(
  cdb: Uint8Array,
  at: number,
  { commandTable, rowsOf, findRow }: CommandLookup,
): PreparedCommand {
  const question = reportSupportedOpcodesCdb.decode(cdb, at);
  const { reportingOptions, requestedOpcode, requestedServiceAction, timeouts, allocationLength } = question;
  const rows = rowsOf(requestedOpcode);
  const hasActions = rows.some((row) => row.serviceAction !== undefined);
  switch (reportingOptions) {
    case reportingOption.all:
      return answer(encodeAll(commandTable, timeouts), allocationLength);
    case reportingOption.opcodeOnly:
      if (hasActions) return refuse(invalidCdbField(2, 2));
      return answer(encodeOne(findRow(requestedOpcode, 0), timeouts), allocationLength);
    case reportingOption.opcodeAndServiceAction:
      // An operation code that is not known at all is one that is not supported, whatever it would have.
      if (rows.length > 0 && !hasActions) return refuse(invalidCdbField(2, 2));
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
  const usage = usageOf(row);
  out
    .u8(0)
    .u8((timeouts ? 0x80 : 0) | support.standard)
    .u16(usage.length)
    .bytes(usage);
  if (timeouts) encodeTimeouts(out);
  return out.finish();
}

/** CDB usage data has the service action itself where the CDB has it, in the low five bits of byte 1 (SPC-4 §6.34.3). */
function usageOf({ usage, serviceAction }: CommandRow): Uint8Array {
  if (serviceAction === undefined) return usage;
  const filled = Uint8Array.from(usage);
  filled[1] = ((usage[1] as number) & ~SERVICE_ACTION_BITS) | serviceAction;
  return filled;
}

/** No timeout is indicated. */
function encodeTimeouts(out: ByteWriter): void {
  out.u16(TIMEOUTS_DESCRIPTOR_BYTES - 2).zeros(TIMEOUTS_DESCRIPTOR_BYTES - 2);
}

/** The iSCSIProtocolLevel that brought the queries, and the reset of a nexus (RFC 7144 §4.1). */
export const LEVEL_OF_QUERIES = 2;
/** ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, target reset. */
const TASK_MANAGEMENT = [0xda, 0x00] as const;
/** The same and QUERY TASK; QUERY ASYNCHRONOUS EVENT, QUERY TASK SET, I_T NEXUS RESET. */
const WITH_QUERIES = [0xde, 0x07] as const;

/** REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 §6.35): those that the session has. */
export function prepareReportSupportedTaskManagement(
  cdb: Uint8Array,
  at: number,
  { protocolLevel }: CommandContext,
): PreparedCommand {
  const { extended, allocationLength } = reportSupportedTaskManagementCdb.decode(cdb, at);
  if (allocationLength < 4) return refuse(invalidCdbField(6));
  const functions = protocolLevel < LEVEL_OF_QUERIES ? TASK_MANAGEMENT : WITH_QUERIES;
  // The extended form adds timeouts, none of which is indicated.
  if (!extended) return answer(Uint8Array.of(...functions, 0, 0), allocationLength);
  return answer(Uint8Array.of(...functions, 0, 12, ...new Uint8Array(12)), allocationLength);
}
