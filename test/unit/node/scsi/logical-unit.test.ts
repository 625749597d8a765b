import { beforeEach, describe, expect, test } from 'vitest';
import { InvariantError } from '../../../../base/errors.ts';
import { type Logger, silentLogger } from '../../../../base/logger.ts';
import { opcode } from '../../../../node/scsi/cdb.ts';
import { commandTable } from '../../../../node/scsi/command-table.ts';
import { MAX_LOGGED_FAILURES, MAX_TRANSFER_BLOCKS } from '../../../../node/scsi/limits.ts';
import { LogicalUnit } from '../../../../node/scsi/logical-unit.ts';
import { prepareForMissingUnit } from '../../../../node/scsi/missing-unit.ts';
import type { PreparedCommand, ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import { invalidCdbField, type Sense, sense } from '../../../../node/scsi/sense.ts';
import { UnitState } from '../../../../node/scsi/unit-state.ts';
import { DeviceError, type DeviceErrorKind } from '../../../../storage/block-device.ts';
import { realTime } from '../../../support/real-time.ts';
import { MemoryDevice } from '../iscsi/memory-device.ts';
import { IDENTITY, INITIATOR, TARGET } from '../iscsi/target-fixture.ts';

const identity = { ...IDENTITY, targetName: TARGET };

const logged: string[] = [];
const note = (event: string, fields?: object): unknown => logged.push(`${event} ${JSON.stringify(fields)}`);
const logger: Logger = { ...silentLogger, warn: note, error: note };

beforeEach(() => {
  logged.length = 0;
});

function makeState(device: MemoryDevice): UnitState {
  return new UnitState(device, { timers: realTime, logger });
}

function makeUnit(device = new MemoryDevice(1024), state = makeState(device), isid = 1): LogicalUnit {
  const initiatorPort = `${INITIATOR},i,0x${isid.toString(16).padStart(12, '0')}`;
  return new LogicalUnit({ device, identity, luns: [0], state, initiatorPort, logger });
}

/** A unit whose first unit attention was taken. */
function readyUnit(device?: MemoryDevice, state?: UnitState, isid?: number): LogicalUnit {
  const unit = makeUnit(device, state, isid);
  prepare(unit, '00');
  return unit;
}

function prepare(unit: LogicalUnit, hex: string): PreparedCommand {
  return unit.prepare(Buffer.from(hex.replaceAll(' ', '').padEnd(32, '0'), 'hex'), 0);
}

async function run(unit: LogicalUnit, hex: string, data: Uint8Array[] = []): Promise<ScsiOutcome> {
  return unit.run(prepare(unit, hex), data);
}

async function senseOf(unit: LogicalUnit, hex: string, data: Uint8Array[] = []): Promise<Sense | undefined> {
  const outcome = await run(unit, hex, data);
  return outcome.kind === 'check-condition' ? outcome.sense : undefined;
}

async function dataOf(unit: LogicalUnit, hex: string): Promise<Buffer> {
  const outcome = await run(unit, hex);
  if (outcome.kind !== 'good') throw new Error(`not good: ${JSON.stringify(outcome)}`);
  return Buffer.concat(outcome.dataIn);
}

describe('ranges', () => {
  const widths: [string, (lba: number, length: number) => string][] = [
    ['READ(10)', (lba, n) => `2800 ${hex(lba, 4)} 00 ${hex(n, 2)}`],
    ['READ(12)', (lba, n) => `a800 ${hex(lba, 4)} ${hex(n, 4)}`],
    ['READ(16)', (lba, n) => `8800 ${hex(lba, 8)} ${hex(n, 4)}`],
    ['WRITE(10)', (lba, n) => `2a00 ${hex(lba, 4)} 00 ${hex(n, 2)}`],
    ['WRITE(12)', (lba, n) => `aa00 ${hex(lba, 4)} ${hex(n, 4)}`],
    ['WRITE(16)', (lba, n) => `8a00 ${hex(lba, 8)} ${hex(n, 4)}`],
    ['VERIFY(10)', (lba, n) => `2f00 ${hex(lba, 4)} 00 ${hex(n, 2)}`],
    ['VERIFY(16)', (lba, n) => `8f00 ${hex(lba, 8)} ${hex(n, 4)}`],
    ['SYNCHRONIZE CACHE(10)', (lba, n) => `3500 ${hex(lba, 4)} 00 ${hex(n, 2)}`],
    ['SYNCHRONIZE CACHE(16)', (lba, n) => `9100 ${hex(lba, 8)} ${hex(n, 4)}`],
  ];
  function hex(value: number, bytes: number): string {
    return value.toString(16).padStart(bytes * 2, '0');
  }

  test.each(widths)('%s up to the last block and not beyond', async (_name, cdb) => {
    const unit = readyUnit();
    expect(prepare(unit, cdb(1016, 8)).kind).not.toBe('done');
    expect(await senseOf(unit, cdb(1017, 8))).toMatchObject(sense.lbaOutOfRange);
    expect(await senseOf(unit, cdb(0xffff_ffff, 1))).toMatchObject(sense.lbaOutOfRange);
  });

  test('READ(6) of length 0 is 256 blocks; other reads of length 0 do nothing', () => {
    const unit = readyUnit();
    expect(prepare(unit, '080001000000')).toMatchObject({ kind: 'read', lba: 256, lengthBlocks: 256 });
    expect(prepare(unit, '2800 00000000 00 0000')).toMatchObject({ kind: 'done', outcome: { kind: 'good' } });
  });

  test('a transfer beyond the limit, or with protection information, is refused', async () => {
    const unit = readyUnit(new MemoryDevice(MAX_TRANSFER_BLOCKS + 8));
    // READ, WRITE, VERIFY without data and with all of it: what VPD page B0h says of the transfer length holds for each.
    for (const code of ['8800', '8a00', '8f00', '8f02']) {
      const long = (blocks: number): string => `${code} ${hex(0, 8)} ${hex(blocks, 4)}`;
      expect(await senseOf(unit, long(MAX_TRANSFER_BLOCKS + 1)), code).toEqual(sense.invalidFieldInCdb);
      expect(prepare(unit, long(MAX_TRANSFER_BLOCKS)), code).toMatchObject({
        lengthBlocks: MAX_TRANSFER_BLOCKS,
      });
    }
    expect(await senseOf(unit, '2820 00000000 00 0001')).toEqual(invalidCdbField(1, 7));
  });
});

describe('unit attention', () => {
  test('power on is told once, to the first command that reports it', async () => {
    const unit = makeUnit();
    expect((await dataOf(unit, '120000006000')).length).toBe(96);
    expect((await dataOf(unit, 'a000000000000000 00100000')).length).toBe(16);
    expect(await senseOf(unit, '2800 00000000 00 0001')).toEqual(sense.powerOn);
    expect((await run(unit, '2800 00000000 00 0001')).kind).toBe('good');
  });

  test('REQUEST SENSE takes it as data', async () => {
    const unit = makeUnit();
    expect((await dataOf(unit, '03000000fc00')).toString('hex')).toBe('700006000000000a00000000290000000000');
    expect((await dataOf(unit, '03000000fc00')).readUInt8(2)).toBe(0);
    unit.raiseAttention(sense.deviceReset);
    expect((await dataOf(unit, '03010000fc00')).toString('hex')).toBe('7206290300000000');
  });

  test('the same attention is not queued twice', async () => {
    const unit = readyUnit();
    unit.raiseAttention(sense.busReset);
    unit.raiseAttention(sense.busReset);
    expect(await senseOf(unit, '00')).toEqual(sense.busReset);
    expect(await senseOf(unit, '00')).toBeUndefined();
  });
});

describe('several unit attentions', () => {
  test('resets are told first, the rest in the order it happened, and none is lost', async () => {
    const unit = readyUnit();
    const happened = [
      sense.capacityChanged,
      sense.modeParametersChanged,
      sense.nexusLost,
      sense.registrationsPreempted,
      sense.deviceReset,
      sense.accessStateChanged,
      sense.busReset,
      sense.commandsCleared,
    ];
    for (const attention of [...happened, ...happened]) unit.raiseAttention(attention);
    const told: (Sense | undefined)[] = [];
    while (unit.pendingAttentions.count > 0) told.push(await senseOf(unit, '00'));
    expect(told).toEqual([
      sense.busReset,
      sense.deviceReset,
      sense.nexusLost,
      sense.capacityChanged,
      sense.modeParametersChanged,
      sense.registrationsPreempted,
      sense.accessStateChanged,
      sense.commandsCleared,
    ]);
  });

  test('a reservation conflict comes before any but those of a reset, which stay for the next command', async () => {
    const device = new MemoryDevice(1024);
    const state = makeState(device);
    const [one, two] = [readyUnit(device, state, 1), readyUnit(device, state, 2)];
    await run(one, '16');
    two.raiseAttention(sense.modeParametersChanged);
    expect((await run(two, '2800 00000000 00 0001')).kind).toBe('reservation-conflict');
    two.raiseAttention(sense.deviceReset);
    expect(await senseOf(two, '2800 00000000 00 0001')).toEqual(sense.deviceReset);
    expect((await run(two, '2800 00000000 00 0001')).kind).toBe('reservation-conflict');
    await run(one, '17');
    expect(await senseOf(two, '2800 00000000 00 0001')).toEqual(sense.modeParametersChanged);
  });
});

describe('commands', () => {
  test('an unknown operation code, and an unknown service action of a known one', async () => {
    const unit = readyUnit();
    expect(await senseOf(unit, '04')).toEqual(sense.invalidOpcode);
    expect(await senseOf(unit, '9e1f')).toEqual(invalidCdbField(1, 4));
    expect(await senseOf(unit, 'a300')).toEqual(invalidCdbField(1, 4));
  });

  test('every row of the command table is carried out', async () => {
    for (const row of commandTable) {
      const unit = readyUnit();
      const cdb = Buffer.alloc(16);
      cdb[0] = row.opcode;
      if (row.serviceAction !== undefined) cdb[1] = row.serviceAction;
      // Enough room for parameter data where the command has it.
      if (row.opcode === opcode.reportLuns) cdb[9] = 16;
      const command = unit.prepare(cdb, 0);
      const invalid = { outcome: { sense: sense.invalidOpcode } };
      expect(command, row.name).not.toMatchObject(invalid);
      expect(row.usage[0], row.name).toBe(row.opcode);
    }
  });

  test('READ CAPACITY tells length, block size and the physical block', async () => {
    const unit = readyUnit();
    expect((await dataOf(unit, '25')).toString('hex')).toBe('000003ff00000200');
    const long = await dataOf(unit, '9e10 0000000000000000 00000020');
    expect(long.toString('hex')).toBe(`00000000000003ff000002000003c0${'00'.repeat(17)}`);
  });

  test('MODE SENSE tells write cache and write protection as the device has them', async () => {
    const device = new MemoryDevice(1024);
    const unit = readyUnit(device);
    expect((await dataOf(unit, '1a080800ff')).toString('hex')).toBe(`17001000881204${'00'.repeat(17)}`);
    device.writeCacheEnabled = false;
    device.readOnly = true;
    // An administrator has changed it, which initiators are told.
    expect(await senseOf(unit, '1a080800ff')).toEqual(sense.modeParametersChanged);
    expect((await dataOf(unit, '1a080800ff')).toString('hex')).toBe(`17009000881200${'00'.repeat(17)}`);
    expect((await dataOf(unit, '1a003f00ff')).subarray(0, 12).toString('hex')).toBe(
      '430090080000040000000200',
    );
    expect((await dataOf(unit, '1a08c800ff')).toString('hex')).toBe(`17009000881200${'00'.repeat(17)}`);
    expect((await dataOf(unit, '1a084800ff')).toString('hex')).toBe(`17009000881200${'00'.repeat(17)}`);
    expect(await senseOf(unit, '1a000200ff')).toEqual(invalidCdbField(2, 5));
    expect(await senseOf(unit, '1a000801ff')).toEqual(invalidCdbField(3));
    expect((await dataOf(unit, '5a08 0800000000 00ff')).subarray(0, 8).toString('hex')).toBe(
      '001a009000000000',
    );
  });

  test('REPORT SUPPORTED OPERATION CODES agrees with the table', async () => {
    const unit = readyUnit();
    const all = await dataOf(unit, 'a30c 00000000 0000ffff');
    expect(all.readUInt32BE(0)).toBe(commandTable.length * 8);
    const one = await dataOf(unit, 'a30c 01280000 0000ffff');
    expect(one.toString('hex')).toBe('0003000a28f8ffffffff1fffff00');
    const none = await dataOf(unit, 'a30c 01040000 0000ffff');
    expect(none.toString('hex')).toBe('00010000');
    expect(await senseOf(unit, 'a30c 019e0000 0000ffff')).toEqual(invalidCdbField(2, 2));
  });

  test('REPORT SUPPORTED OPERATION CODES tells of a service action by its own number', async () => {
    const unit = readyUnit();
    // PERSISTENT RESERVE IN, REPORT CAPABILITIES, with and without saying that there are service actions.
    for (const asked of ['025e0002', '035e0002']) {
      const one = await dataOf(unit, `a30c ${asked} 0000ffff`);
      expect(one.toString('hex')).toBe('0003000a5e020000000000ffff00');
    }
    // WRITE SAME(16) has none, an unknown operation code is not supported either way.
    expect(await senseOf(unit, 'a30c 02930000 0000ffff')).toEqual(invalidCdbField(2, 2));
    expect((await dataOf(unit, 'a30c 03930001 0000ffff')).toString('hex')).toBe('00010000');
    for (const asked of ['01c10000', '02c10000', '03c10000', '025e0009']) {
      expect((await dataOf(unit, `a30c ${asked} 0000ffff`)).toString('hex')).toBe('00010000');
    }
  });

  test('VERIFY compares when asked to, and tells where the difference is', async () => {
    const device = new MemoryDevice(1024);
    device.bytes.fill(7, 512, 1536);
    const unit = readyUnit(device);
    const same = Buffer.alloc(1024, 7);
    expect((await run(unit, '2f02 00000001 00 0002', [same])).kind).toBe('good');
    expect((await run(unit, '2f06 00000001 00 0002', [same.subarray(0, 512)])).kind).toBe('good');
    const other = Buffer.from(same);
    other[700] = 1;
    const different = await senseOf(unit, '2f02 00000001 00 0002', [other]);
    expect(different).toEqual({ ...sense.miscompare, information: 700 });
    expect(await senseOf(unit, '2f04 00000001 00 0002')).toEqual(invalidCdbField(1, 2));
  });

  test('FUA is passed on by writes, and makes reads flush a write cache', async () => {
    const device = new MemoryDevice(1024);
    const unit = readyUnit(device);
    await run(unit, '2a08 00000000 00 0001', [new Uint8Array(512)]);
    await run(unit, '2808 00000000 00 0001');
    expect(device.calls).toMatchObject({ forced: 1, flushes: 1 });
  });

  test('RESERVE(6) bars other initiators until released', async () => {
    const device = new MemoryDevice(1024);
    const state = makeState(device);
    const [one, two] = [readyUnit(device, state, 1), readyUnit(device, state, 2)];
    expect((await run(one, '16')).kind).toBe('good');
    for (const cdb of ['16', '00', '2800 00000000 00 0001', '1e0000000100']) {
      expect((await run(two, cdb)).kind).toBe('reservation-conflict');
    }
    for (const cdb of ['17', '120000006000', '1e0000000000']) expect((await run(two, cdb)).kind).toBe('good');
    expect((await run(one, '00')).kind).toBe('good');
    one.detach();
    expect((await run(two, '00')).kind).toBe('good');
  });

  test('write-protected media', async () => {
    const device = new MemoryDevice(1024);
    device.readOnly = true;
    expect(await senseOf(readyUnit(device), '2a00 00000000 00 0001')).toEqual(sense.writeProtected);
  });
});

describe('failures of the device', () => {
  const cases: [DeviceErrorKind, string, Sense | undefined][] = [
    ['out-of-range', '2800 00000005 00 0001', { ...sense.lbaOutOfRange, information: 5 }],
    ['read-only', '2a00 00000005 00 0001', sense.writeProtected],
    ['no-space', '2a00 00000005 00 0001', sense.spaceAllocationFailed],
    ['medium-error', '2800 00000005 00 0001', { ...sense.unrecoveredReadError, information: 5 }],
    ['medium-error', '2a00 00000005 00 0001', { ...sense.writeError, information: 5 }],
    ['medium-error', '35', sense.writeError],
  ];
  test.each(cases)('%s on %s', async (kind, cdb, expected) => {
    const device = new MemoryDevice(1024);
    const unit = readyUnit(device);
    device.failure = new DeviceError(kind, 'made to fail');
    expect(await senseOf(unit, cdb, [new Uint8Array(512)])).toEqual(expected);
  });

  test('not serving is no answer at all, and a bug is not hidden', async () => {
    const device = new MemoryDevice(1024);
    const unit = readyUnit(device);
    device.failure = new DeviceError('not-serving', 'moved away');
    expect(await run(unit, '2800 00000000 00 0001')).toEqual({ kind: 'not-serving' });
    device.failure = new InvariantError('a bug');
    await expect(run(unit, '2800 00000000 00 0001')).rejects.toThrow(device.failure);
    expect(logged).toEqual([]);
  });

  test.each(['2800 00000005 00 0001', '2a00 00000005 00 0001', '2f00 00000005 00 0001', '35'])(
    'an error nobody has thought of is logged and answered as a failure of the target: %s',
    async (cdb) => {
      const device = new MemoryDevice(1024);
      const unit = readyUnit(device);
      device.failure = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
      expect(await senseOf(unit, cdb, [new Uint8Array(512)])).toEqual({ key: 4, asc: 0x44, ascq: 0 });
      expect(logged).toEqual([expect.stringMatching(/^scsi\.device\.failed .*disk1.*EIO: i\/o error/)]);
    },
  );

  test('damage is logged with its place, and not for ever', async () => {
    const device = new MemoryDevice(1024);
    const unit = readyUnit(device);
    device.failure = new DeviceError('medium-error', 'rotten');
    for (let i = 0; i <= MAX_LOGGED_FAILURES; i++) await run(unit, '2800 00000005 00 0001');
    expect(logged).toHaveLength(MAX_LOGGED_FAILURES);
    expect(logged[0]).toMatch(/^scsi\.medium-error .*"lba":5.*rotten/);
  });
});

test('a LUN that holds nothing answers three commands', () => {
  const at = (hex: string): PreparedCommand =>
    prepareForMissingUnit(Buffer.from(hex.padEnd(32, '0'), 'hex'), 0, [0, 1]);
  expect(at('120000006000')).toMatchObject({ outcome: { kind: 'good', lengthBytes: 96 } });
  expect(at('a0000000000000000020')).toMatchObject({ outcome: { kind: 'good', lengthBytes: 24 } });
  expect(at('03000000fc00')).toMatchObject({ outcome: { kind: 'good', lengthBytes: 18 } });
  expect(at('00')).toMatchObject({ outcome: { sense: sense.unitNotSupported } });
});
