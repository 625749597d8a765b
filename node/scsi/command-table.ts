import { opcode, serviceAction } from './cdb.ts';

/** One command the unit supports, and what REPORT SUPPORTED OPERATION CODES tells of it (SPC-4 §6.34). */
export interface CommandRow {
  readonly name: string;
  readonly opcode: number;
  /** Only where the operation code alone does not say which command it is. */
  readonly serviceAction?: number;
  /** CDB usage data in hexadecimal: a one for each bit the command looks at; the first byte is the opcode. */
  readonly usage: string;
  /** Carried out although another initiator holds a reservation (SPC-2 table 9). */
  readonly ignoresReservation?: true;
  /** Carried out although a unit attention is pending (SAM-5 §5.14). */
  readonly ignoresUnitAttention?: true;
}

export const commandTable: readonly CommandRow[] = [
  { name: 'TEST UNIT READY', opcode: opcode.testUnitReady, usage: '000000000004' },
  {
    name: 'REQUEST SENSE',
    opcode: opcode.requestSense,
    usage: '03010000ff04',
    ignoresReservation: true,
    ignoresUnitAttention: true,
  },
  { name: 'READ(6)', opcode: opcode.read6, usage: '081fffffff04' },
  { name: 'WRITE(6)', opcode: opcode.write6, usage: '0a1fffffff04' },
  {
    name: 'INQUIRY',
    opcode: opcode.inquiry,
    usage: '1201ffffff04',
    ignoresReservation: true,
    ignoresUnitAttention: true,
  },
  { name: 'RESERVE(6)', opcode: opcode.reserve6, usage: '160000000004', ignoresReservation: true },
  { name: 'RELEASE(6)', opcode: opcode.release6, usage: '170000000004', ignoresReservation: true },
  { name: 'MODE SENSE(6)', opcode: opcode.modeSense6, usage: '1a08ffffff04' },
  { name: 'START STOP UNIT', opcode: opcode.startStopUnit, usage: '1b010000f304' },
  { name: 'PREVENT ALLOW MEDIUM REMOVAL', opcode: opcode.preventAllowMediumRemoval, usage: '1e0000000304' },
  { name: 'READ CAPACITY(10)', opcode: opcode.readCapacity10, usage: '2500ffffffff00000104' },
  { name: 'READ(10)', opcode: opcode.read10, usage: '28f8ffffffff00ffff04' },
  { name: 'WRITE(10)', opcode: opcode.write10, usage: '2af8ffffffff00ffff04' },
  { name: 'VERIFY(10)', opcode: opcode.verify10, usage: '2ff6ffffffff00ffff04' },
  { name: 'SYNCHRONIZE CACHE(10)', opcode: opcode.synchronizeCache10, usage: '3502ffffffff00ffff04' },
  { name: 'MODE SENSE(10)', opcode: opcode.modeSense10, usage: '5a18ffff000000ffff04' },
  {
    name: 'PERSISTENT RESERVE IN, READ KEYS',
    opcode: opcode.persistentReserveIn,
    serviceAction: serviceAction.readKeys,
    usage: '5e1f0000000000ffff04',
  },
  {
    name: 'PERSISTENT RESERVE IN, READ RESERVATION',
    opcode: opcode.persistentReserveIn,
    serviceAction: serviceAction.readReservation,
    usage: '5e1f0000000000ffff04',
  },
  {
    name: 'PERSISTENT RESERVE IN, REPORT CAPABILITIES',
    opcode: opcode.persistentReserveIn,
    serviceAction: serviceAction.reportCapabilities,
    usage: '5e1f0000000000ffff04',
  },
  {
    name: 'PERSISTENT RESERVE IN, READ FULL STATUS',
    opcode: opcode.persistentReserveIn,
    serviceAction: serviceAction.readFullStatus,
    usage: '5e1f0000000000ffff04',
  },
  { name: 'READ(16)', opcode: opcode.read16, usage: '88f8ffffffffffffffffffffffff0004' },
  { name: 'WRITE(16)', opcode: opcode.write16, usage: '8af8ffffffffffffffffffffffff0004' },
  { name: 'VERIFY(16)', opcode: opcode.verify16, usage: '8ff6ffffffffffffffffffffffff0004' },
  {
    name: 'SYNCHRONIZE CACHE(16)',
    opcode: opcode.synchronizeCache16,
    usage: '9102ffffffffffffffffffffffff0004',
  },
  {
    name: 'READ CAPACITY(16)',
    opcode: opcode.serviceActionIn16,
    serviceAction: serviceAction.readCapacity16,
    usage: '9e1f0000000000000000ffffffff0004',
  },
  {
    name: 'REPORT LUNS',
    opcode: opcode.reportLuns,
    usage: 'a000ff000000ffffffff0004',
    ignoresReservation: true,
    ignoresUnitAttention: true,
  },
  {
    name: 'REPORT SUPPORTED OPERATION CODES',
    opcode: opcode.maintenanceIn,
    serviceAction: serviceAction.reportSupportedOpcodes,
    usage: 'a31f87ffffffffffffff0004',
  },
  { name: 'READ(12)', opcode: opcode.read12, usage: 'a8f8ffffffffffffffff0004' },
  { name: 'WRITE(12)', opcode: opcode.write12, usage: 'aaf8ffffffffffffffff0004' },
  { name: 'VERIFY(12)', opcode: opcode.verify12, usage: 'aff6ffffffffffffffff0004' },
];

const BY_OPCODE: readonly (readonly CommandRow[])[] = Array.from({ length: 256 }, (_, code) =>
  commandTable.filter((row) => row.opcode === code),
);

/** Rows with an operation code: none when it is unknown, several when service actions tell them apart. */
export function rowsOf(code: number): readonly CommandRow[] {
  return BY_OPCODE[code] ?? [];
}

/** The service action of a CDB (low five bits of byte 1), or undefined where its command has none. */
export function findRow(code: number, action: number): CommandRow | undefined {
  const rows = rowsOf(code);
  return rows.find((row) => row.serviceAction === undefined || row.serviceAction === action);
}
