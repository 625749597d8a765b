import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../../base/logger.ts';
import {
  type AccessState,
  accessState,
  type TargetPaths,
  type TargetPortGroup,
} from '../../../../node/scsi/access-state.ts';
import { commandTable } from '../../../../node/scsi/command-table.ts';
import { LogicalUnit, type LogicalUnitOptions } from '../../../../node/scsi/logical-unit.ts';
import { nexusName, partsOfNexus } from '../../../../node/scsi/nexus-name.ts';
import { conflict, type ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import { sense } from '../../../../node/scsi/sense.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { IDENTITY, TARGET } from '../iscsi/target-fixture.ts';
import { dataOf, hex, portName, run, senseOf, UnitFixture } from './unit-fixture.ts';

/** A unit with a movable port (1) and one on each of two nodes (2, 3), seen by an initiator through one of them. */
class Paths {
  readonly fixture = new UnitFixture();
  readonly states = new Map<number, AccessState>([
    [1, accessState.activeOptimized],
    [2, accessState.activeOptimized],
    [3, accessState.standby],
  ]);

  through(ownPort: number, isid = ownPort, forward?: LogicalUnitOptions['forward']): LogicalUnit {
    const paths: TargetPaths = {
      ownPort,
      groups: () => this.#groups(),
      ownState: () => this.states.get(ownPort) as AccessState,
    };
    const unit = new LogicalUnit({
      device: this.fixture.device,
      identity: { ...IDENTITY, targetName: TARGET },
      luns: [0],
      state: this.fixture.state,
      initiatorPort: portName(isid),
      logger: silentLogger,
      paths,
      ...(forward === undefined ? {} : { forward }),
    });
    unit.takeAttention();
    return unit;
  }

  #groups(): TargetPortGroup[] {
    return [...this.states].map(([tag, state]) => ({ tag, state, preferred: tag === 1, ports: [tag] }));
  }
}

const TEST_UNIT_READY = '00';
const INQUIRY_83 = '12 01 83 00ff';
const REPORT_GROUPS = 'a30a 00000000 000000ff';
const READ = '2800 00000000 00 0001';
const WRITE = '2a00 00000000 00 0001';
const REQUEST_SENSE = '03000000ff';

function designators(page: Buffer): string[] {
  const found: string[] = [];
  for (let at = 4; at < page.length; at += 4 + page.readUInt8(at + 3)) {
    found.push(page.toString('hex', at, at + 4 + page.readUInt8(at + 3)));
  }
  return found;
}

describe('designators', () => {
  test('of unit and target are equal on all paths, those of the port are its own', async () => {
    const paths = new Paths();
    const [movable, active, standby] = (await Promise.all(
      [1, 2, 3].map(async (port) => designators(await dataOf(paths.through(port), INQUIRY_83))),
    )) as [string[], string[], string[]];
    const isOfPort = (designator: string): boolean =>
      ((Number.parseInt(designator.slice(2, 4), 16) >> 4) & 3) === 1;
    for (const other of [active, standby]) {
      expect(other.filter((d) => !isOfPort(d))).toEqual(movable.filter((d) => !isOfPort(d)));
    }
    const name = (port: number): string => Buffer.from(`${TARGET},t,0x000${port}`).toString('hex');
    for (const [port, all] of [
      [1, movable],
      [3, standby],
    ] as const) {
      const own = all.filter(isOfPort);
      expect(own).toHaveLength(3);
      expect(own[0]).toContain(name(port));
      expect(own.slice(1)).toEqual([`51940004${hex(port, 8).slice(8)}`, `51950004${hex(port, 8).slice(8)}`]);
    }
  });
});

test('INQUIRY tells that there are several ports where there are', async () => {
  const multiplePorts = async (unit: LogicalUnit): Promise<number> =>
    (await dataOf(unit, '12000000ff')).readUInt8(6) & 0x10;
  expect(await multiplePorts(new Paths().through(1))).toBe(0x10);
  expect(await multiplePorts(new UnitFixture().initiator())).toBe(0);
});

describe('REPORT TARGET PORT GROUPS', () => {
  test.each([1, 3])('tells of all groups with their states, asked by port %i', async (port) => {
    const paths = new Paths();
    const groups = '808f0001 00020001 00000001 008f0002 00020001 00000002 028f0003 00020001 00000003';
    expect((await dataOf(paths.through(port), REPORT_GROUPS)).toString('hex')).toBe(
      `00000024${groups.replaceAll(' ', '')}`,
    );
  });
});

describe('a path that is not active', () => {
  test.each([
    ['standby', accessState.standby, { key: 2, asc: 4, ascq: 0x0b }],
    ['unavailable', accessState.unavailable, { key: 2, asc: 4, ascq: 0x0c }],
    ['transitioning', accessState.transitioning, { key: 2, asc: 4, ascq: 0x0a }],
  ])('says that it is in %s, and touches nothing', async (_name, state, why) => {
    const paths = new Paths();
    paths.states.set(3, state);
    const unit = paths.through(3);
    for (const cdb of [TEST_UNIT_READY, READ, WRITE, '350000000000000000']) {
      expect(await senseOf(unit, cdb, Buffer.alloc(512, 7))).toMatchObject(why);
    }
    expect(paths.fixture.device.calls.writes).toBe(0);
    const sense = await dataOf(unit, REQUEST_SENSE);
    expect([sense[2], sense[12], sense[13]]).toEqual([why.key, why.asc, why.ascq]);
  });

  test('carries what finds the disk, and nothing that alters it', () => {
    const carried = commandTable.filter(
      ({ whileInactive }) => whileInactive !== undefined && whileInactive !== 'forwarded',
    );
    expect(carried.map(({ name, whileInactive }) => `${name}: ${whileInactive}`).sort()).toEqual([
      'INQUIRY: any',
      'MODE SENSE(10): standby',
      'MODE SENSE(6): standby',
      'READ CAPACITY(10): standby',
      'READ CAPACITY(16): standby',
      'RECEIVE DIAGNOSTIC RESULTS: standby',
      'REPORT LUNS: any',
      'REPORT SUPPORTED OPERATION CODES: standby',
      'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS: standby',
      'REPORT TARGET PORT GROUPS: any',
      'REQUEST SENSE: any',
      'SEND DIAGNOSTIC: standby',
    ]);
    expect(carried.filter((row) => row.altersMedium === true)).toEqual([]);
  });

  test('has the capacity of the others while it is in standby', async () => {
    const paths = new Paths();
    const capacity = '9e10 0000000000000000 00000020';
    expect(await dataOf(paths.through(3), capacity)).toEqual(await dataOf(paths.through(1), capacity));
    paths.states.set(3, accessState.transitioning);
    expect(await senseOf(paths.through(3), capacity)).toMatchObject({ asc: 4, ascq: 0x0a });
  });

  test('becomes active, and says so first', async () => {
    const paths = new Paths();
    const [one, other] = [paths.through(3), paths.through(2)];
    paths.states.set(3, accessState.activeOptimized);
    for (const unit of [one, other]) unit.accessChanged();
    for (const unit of [one, other]) {
      expect(await senseOf(unit, READ)).toEqual({ key: 6, asc: 0x2a, ascq: 0x06 });
      expect((await run(unit, READ)).kind).toBe('good');
    }
  });

  test('leaves a sanitize operation to whoever serves the unit', async () => {
    const paths = new Paths();
    await paths.fixture.state.change((present) => ({
      ...present,
      sanitize: {
        method: 'block-erase',
        pattern: '',
        passes: 1,
        invert: false,
        unrestrictedExit: false,
        failed: false,
      },
    }));
    const unit = paths.through(3);
    expect(paths.fixture.state.sanitize).toBeUndefined();
    paths.states.set(3, accessState.activeOptimized);
    unit.accessChanged();
    const operation = paths.fixture.state.sanitize;
    expect(operation).toBeDefined();
    await operation?.ended;
    expect(paths.fixture.state.server.sanitize).toBeUndefined();
  });
});

const KEY = '00000000000000a1';
const NONE = '0'.repeat(16);
const ALL_TARGET_PORTS = 0x04;

function reserveOut(unit: LogicalUnit, action: number, key: string, actionKey: string, type = 0, flags = 0) {
  const list = Buffer.from(`${key}${actionKey}${'0'.repeat(8)}${hex(flags, 1)}000000`, 'hex');
  return run(unit, `5f ${hex(action, 1)} ${hex(type, 1)} 0000 00000018`, list);
}

/** Whom READ FULL STATUS names: target port and initiator port. */
async function registered(unit: LogicalUnit): Promise<[number, string][]> {
  const data = await dataOf(unit, '5e03 0000000000 ffff');
  const found: [number, string][] = [];
  for (let at = 8; at < data.length; at += 24 + data.readUInt32BE(at + 20)) {
    const name = data.toString('utf8', at + 28, at + 24 + data.readUInt32BE(at + 20)).replace(/\0+$/, '');
    found.push([data.readUInt16BE(at + 18), name]);
  }
  return found;
}

describe('persistent reservations', () => {
  const WRITE_EXCLUSIVE = 1;
  const REGISTRANTS_ONLY = 5;

  test('are of a nexus: the same initiator port by another target port has none', async () => {
    const paths = new Paths();
    const [one, other] = [paths.through(1, 7), paths.through(2, 7)];
    await reserveOut(one, 0x00, NONE, KEY);
    expect((await reserveOut(one, 0x01, KEY, NONE, WRITE_EXCLUSIVE)).kind).toBe('good');
    expect((await run(one, WRITE, Buffer.alloc(512))).kind).toBe('good');
    expect((await run(other, WRITE, Buffer.alloc(512))).kind).toBe('reservation-conflict');
    expect(await registered(other)).toEqual([[1, portName(7)]]);
    await reserveOut(other, 0x00, NONE, KEY);
    expect(await registered(one)).toEqual([
      [1, portName(7)],
      [2, portName(7)],
    ]);
    // Registered is not holding, with this type.
    expect((await run(other, WRITE, Buffer.alloc(512))).kind).toBe('reservation-conflict');
  });

  test('ALL_TG_PT registers the initiator port by every target port, or by none', async () => {
    const paths = new Paths();
    const [one, other] = [paths.through(1, 7), paths.through(2, 7)];
    expect((await reserveOut(one, 0x00, NONE, KEY, 0, ALL_TARGET_PORTS)).kind).toBe('good');
    expect((await registered(one)).map(([port]) => port)).toEqual([1, 2, 3]);
    expect((await dataOf(one, '5e00 0000000000 00ff')).readUInt32BE(0), 'one change').toBe(1);
    await reserveOut(one, 0x01, KEY, NONE, REGISTRANTS_ONLY);
    expect((await run(other, WRITE, Buffer.alloc(512))).kind).toBe('good');
    // The standby's registration is there when it takes over.
    paths.states.set(3, accessState.activeOptimized);
    expect((await run(paths.through(3, 7), WRITE, Buffer.alloc(512))).kind).toBe('good');
    expect((await reserveOut(one, 0x00, KEY, NONE)).kind).toBe('good');
    const again = await reserveOut(one, 0x00, NONE, KEY, 0, ALL_TARGET_PORTS);
    expect(again.kind, 'ports 2 and 3 have registrations with a key').toBe('reservation-conflict');
    expect((await registered(one)).map(([port]) => port)).toEqual([2, 3]);
  });

  test('can be moved to a nexus by another target port, of those there are', async () => {
    const paths = new Paths();
    const one = paths.through(1, 7);
    await reserveOut(one, 0x00, NONE, KEY);
    await reserveOut(one, 0x01, KEY, NONE, WRITE_EXCLUSIVE);
    const name = Buffer.from(`${portName(8)}\0`.padEnd(Math.ceil((portName(8).length + 1) / 4) * 4, '\0'));
    const transportId = Buffer.concat([
      Buffer.from([0x45, 0]),
      Buffer.from(hex(name.length, 2), 'hex'),
      name,
    ]);
    const move = (targetPort: number) => {
      const head = `${KEY}00000000000000b20000${hex(targetPort, 2)}${hex(transportId.length, 4)}`;
      const list = Buffer.concat([Buffer.from(head, 'hex'), transportId]);
      return run(one, `5f07 00 0000 ${hex(list.length, 4)}`, list);
    };
    expect(await move(9)).toMatchObject({ sense: { asc: 0x26, field: { byte: 18 } } });
    expect((await move(2)).kind).toBe('good');
    expect(await registered(one)).toContainEqual([2, portName(8)]);
    expect((await run(paths.through(2, 8), WRITE, Buffer.alloc(512))).kind).toBe('good');
    expect((await run(paths.through(1, 8), WRITE, Buffer.alloc(512))).kind).toBe('reservation-conflict');
  });

  test('are held to in standby as the copy there has them, though nobody there can be certain of them', async () => {
    const paths = new Paths();
    const one = paths.through(1);
    await reserveOut(one, 0x00, NONE, KEY);
    await reserveOut(one, 0x01, KEY, NONE, WRITE_EXCLUSIVE);
    paths.fixture.device.failure = new DeviceError('not-serving', 'another node does');
    expect((await run(paths.through(3), '1a 08 0a 00 ff')).kind).toBe('reservation-conflict');
  });

  test('name nexuses so that those of the first port are what they were before there were others', () => {
    expect(nexusName(portName(1), 1)).toBe(portName(1));
    const odd = 'iqn.2026-11.net.example:t,0x0003,i,0x000000000001';
    for (const port of [1, 2, 0xffff]) {
      expect(partsOfNexus(nexusName(odd, port))).toEqual({ initiatorPort: odd, targetPort: port });
    }
  });
});

describe('what a path in standby has carried out by whoever serves the unit', () => {
  const RESERVE_OUT = '5f000000000000001800';
  const MODE_SELECT = '1510000018';

  function passing(outcome: ScsiOutcome) {
    const paths = new Paths();
    const passed: { cdb: string; dataOut: string }[] = [];
    const forward = async (cdb: Uint8Array, dataOut: Uint8Array): Promise<ScsiOutcome> => {
      passed.push({ cdb: Buffer.from(cdb).toString('hex'), dataOut: Buffer.from(dataOut).toString('hex') });
      return outcome;
    };
    return { paths, passed, standby: paths.through(3, 3, forward) };
  }

  test.each([
    ['PERSISTENT RESERVE OUT', '5f000000000000001800', 24],
    ['PERSISTENT RESERVE IN', '5e000000000000010000', 0],
    ['MODE SELECT (6)', MODE_SELECT, 24],
    ['MODE SELECT (10)', '55100000000000001c00', 28],
  ])('%s, with its data, as it came', async (_, cdb, bytes) => {
    const { passed, standby } = passing(conflict);
    const data = Buffer.alloc(bytes, 7);
    expect(await run(standby, cdb, data)).toEqual(conflict);
    expect(passed).toEqual([{ cdb: cdb.padEnd(32, '0'), dataOut: data.toString('hex') }]);
  });

  test('also where what it came in is used again meanwhile', async () => {
    const { passed, standby } = passing(conflict);
    const chunk = Buffer.from(`00000000${RESERVE_OUT.padEnd(32, '0')}`, 'hex');
    const command = standby.prepare(chunk, 4);
    chunk.fill(0xff);
    await standby.run(command, [Buffer.alloc(24)]);
    expect(passed.map(({ cdb }) => cdb)).toEqual([RESERVE_OUT.padEnd(32, '0')]);
  });

  test('what is wrong by itself goes nowhere', async () => {
    const { passed, standby } = passing(conflict);
    expect(await senseOf(standby, '5f000000000000000800')).toEqual(sense.parameterListLengthError);
    expect(await senseOf(standby, '5fe00000000000001800')).toBeDefined();
    expect(passed).toEqual([]);
  });

  test('a path that is active does it itself, one that is unavailable not at all', async () => {
    const { paths, passed, standby } = passing(conflict);
    paths.states.set(3, accessState.unavailable);
    expect(await senseOf(standby, RESERVE_OUT, Buffer.alloc(24))).toEqual(sense.portUnavailable);
    paths.states.set(3, accessState.activeOptimized);
    const registering = Buffer.alloc(24);
    registering[15] = 1;
    expect((await run(standby, RESERVE_OUT, registering)).kind).toBe('good');
    expect(passed).toEqual([]);
  });

  test('reads and writes stay refused, and copies from and to it', async () => {
    const { passed, standby } = passing(conflict);
    expect(await senseOf(standby, READ)).toEqual(sense.portInStandby);
    expect(await senseOf(standby, WRITE)).toEqual(sense.portInStandby);
    for (const access of ['read', 'write'] as const)
      expect(standby.refusesCopy(access)).toEqual(sense.copyTargetNotReachable);
    expect(passed).toEqual([]);
  });
});
