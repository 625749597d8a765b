import { describe, expect, it } from 'vitest';
import { outcomeOf } from '../../../../node/scsi/device-outcome.ts';
import { MAX_WRITE_SAME_BLOCKS } from '../../../../node/scsi/limits.ts';
import type { ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import { invalidCdbField, sense } from '../../../../node/scsi/sense.ts';
import { EMPTY_SERVER_STATE, encodeServerState } from '../../../../node/scsi/server-state.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { realTime } from '../../../support/real-time.ts';
import { COPY_LIST, hex, prepare, run, senseOf, UnitFixture } from './unit-fixture.ts';

const READ = '2800 00000000 00 0001';
const WRITE = '2a00 00000000 00 0001';
const READY = '00';
const block = (byte: number, blocks = 1): Buffer => Buffer.alloc(512 * blocks, byte);

/** PERSISTENT RESERVE OUT. */
function reserveOut(action: number, key: number, actionKey: number, type = 0): [string, Buffer] {
  const list = Buffer.alloc(24);
  list.writeUInt32BE(key, 4);
  list.writeUInt32BE(actionKey, 12);
  return [`5f${hex(action, 1)}0${type} 0000 00000018`, list];
}

describe('RESERVE(6)', () => {
  it('of another keeps from starting the unit as well', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    await run(one, '16');
    expect((await run(two, '1b0000000100')).kind).toBe('reservation-conflict');
    expect((await run(one, '1b0000000100')).kind).toBe('good');
  });

  it('keeps out a write whose data came only after it', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    const late = prepare(one, WRITE);
    await run(two, '16');
    expect((await one.run(late, [block(1)])).kind).toBe('reservation-conflict');
    expect(fixture.device.calls.writes).toBe(0);
  });
});

describe('whoever can no longer be certain to serve the unit', () => {
  const notServing = new DeviceError('not-serving', 'another node may be');

  it.each<[string, (fixture: UnitFixture) => Promise<() => Promise<ScsiOutcome>>]>([
    [
      'of a conflict',
      async (fixture) => {
        const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
        await run(two, ...reserveOut(0, 0, 2));
        await run(two, ...reserveOut(1, 2, 0, 3));
        return () => run(one, READ);
      },
    ],
    [
      'of a reservation that is refused',
      async (fixture) => {
        const unit = fixture.initiator();
        return () => run(unit, ...reserveOut(1, 9, 0, 3));
      },
    ],
    [
      'of a release that changes nothing',
      async (fixture) => {
        const unit = fixture.initiator();
        await run(unit, ...reserveOut(0, 0, 2));
        return () => run(unit, ...reserveOut(2, 2, 0, 3));
      },
    ],
    [
      'of the keys',
      async (fixture) => {
        const unit = fixture.initiator();
        return () => run(unit, '5e00 0000000000 00ff');
      },
    ],
    [
      'of RESERVE(6)',
      async (fixture) => {
        const unit = fixture.initiator();
        return () => run(unit, '16');
      },
    ],
  ])('says nothing %s', async (_, prepared) => {
    const fixture = new UnitFixture();
    const ask = await prepared(fixture);
    expect((await ask()).kind).not.toBe('not-serving');
    fixture.device.failure = notServing;
    expect((await ask()).kind).toBe('not-serving');
  });
});

describe('PERSISTENT RESERVE', () => {
  it('keeps each of two registrations that come at once', async () => {
    const fixture = new UnitFixture();
    const save = fixture.device.saveServerState.bind(fixture.device);
    fixture.device.saveServerState = async (state) => {
      await new Promise((resolve) => setImmediate(resolve));
      await save(state);
    };
    const units = [1, 2, 3].map((isid) => fixture.initiator(isid));
    await Promise.all(units.map((unit, i) => run(unit, ...reserveOut(0, 0, 1 + i))));
    expect(fixture.state.server.reservations.registrations.map(({ key }) => Number(key))).toEqual([1, 2, 3]);
    expect(fixture.state.server.reservations.generation).toBe(3);
  });
});

describe('VERIFY', () => {
  it('compares all that was sent, in however many parts', async () => {
    const unit = new UnitFixture().initiator();
    const command = prepare(unit, '2f02 00000000 00 0002');
    expect((await unit.run(command, [block(0), block(0)])).kind).toBe('good');
    expect(await unit.run(command, [block(0), block(1)])).toMatchObject({
      sense: { ...sense.miscompare, information: 512 },
    });
  });

  it('says how far into the unit one block differs from those that it stands for', async () => {
    const fixture = new UnitFixture();
    fixture.device.bytes[512 + 3] = 1;
    expect(await senseOf(fixture.initiator(), '2f06 00000000 00 0002', block(0))).toMatchObject({
      ...sense.miscompare,
      information: 512 + 3,
    });
  });

  it('without data reads what it was asked for, and nothing beyond', async () => {
    const fixture = new UnitFixture(3000);
    const ranges: number[][] = [];
    const read = fixture.device.read.bind(fixture.device);
    fixture.device.read = (lba, lengthBlocks) => {
      ranges.push([lba, lengthBlocks]);
      return read(lba, lengthBlocks);
    };
    expect((await run(fixture.initiator(), '2f00 00000000 00 0bb8')).kind).toBe('good');
    expect(ranges).toEqual([
      [0, 2048],
      [2048, 952],
    ]);
  });

  it('tells of damage no earlier than where it was asked to look', () => {
    const command = { kind: 'read', lba: 11, lengthBlocks: 8, forceUnitAccess: false } as const;
    const informationOf = (lba: number): unknown => {
      const outcome = outcomeOf(new DeviceError('medium-error', 'rotten', { lba }), command);
      return outcome.kind === 'check-condition' ? outcome.sense.information : undefined;
    };
    expect([informationOf(8), informationOf(16)]).toEqual([11, 16]);
  });
});

describe('limits', () => {
  it('WRITE SAME writes no more than it says in VPD page B0h, and wants its one block', async () => {
    const fixture = new UnitFixture();
    Object.assign(fixture.device, { lengthBlocks: 2 * MAX_WRITE_SAME_BLOCKS });
    const unit = fixture.initiator();
    const same = (blocks: number): string => `9300 ${hex(0, 8)} ${hex(blocks, 4)}`;
    expect(prepare(unit, same(MAX_WRITE_SAME_BLOCKS))).toMatchObject({ dataOutBytes: 512, exactData: true });
    expect(await senseOf(unit, same(MAX_WRITE_SAME_BLOCKS + 1))).toEqual(invalidCdbField(10));
    expect(await senseOf(unit, same(0))).toEqual(invalidCdbField(10));
    expect(await senseOf(unit, '9301')).toEqual(invalidCdbField(10));
    expect(prepare(unit, `9301 ${hex(0, 8)} ${hex(8, 4)}`)).toMatchObject({
      dataOutBytes: 0,
      exactData: true,
    });
  });

  it('UNMAP passes over what is no whole descriptor at the end of its list', async () => {
    const fixture = new UnitFixture();
    const list = Buffer.from(
      `001e0018 00000000 ${hex(0, 8)} ${hex(8, 4)} 00000000 ${hex(16, 8)}`.replaceAll(' ', ''),
      'hex',
    );
    expect((await run(fixture.initiator(), '4200 00000000 00 0020', list)).kind).toBe('good');
    expect(fixture.device.calls.discards).toBe(1);
  });

  it('a CDB with a control byte is refused, also of the usual commands', async () => {
    const unit = new UnitFixture().initiator();
    for (const cdb of [WRITE, READ]) expect(await senseOf(unit, `${cdb} 04`)).toEqual(invalidCdbField(9, 2));
  });
});

describe('a copy', () => {
  it('is refused by a unit that its initiator may not use', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    expect([one.refusesCopy('read'), one.refusesCopy('write')]).toEqual([undefined, undefined]);
    const list = Buffer.from(COPY_LIST.replaceAll(' ', ''), 'hex');
    const late = prepare(one, `8300 ${'00'.repeat(8)} 0000004c`);
    await run(two, '16');
    expect(one.refusesCopy('read')).toEqual(sense.thirdPartyDeviceFailure);
    expect((await one.run(late, [list])).kind).toBe('reservation-conflict');
    await run(two, '17');
    await run(two, ...reserveOut(0, 0, 2));
    await run(two, ...reserveOut(1, 2, 0, 1));
    expect([one.refusesCopy('read'), one.refusesCopy('write')]).toEqual([
      undefined,
      sense.thirdPartyDeviceFailure,
    ]);
    await run(two, ...reserveOut(3, 2, 0));
    const protect = Buffer.from('000000000a0a001008000000ffff0000', 'hex');
    expect((await run(two, '151000001000', protect)).kind).toBe('good');
    expect([one.refusesCopy('read'), one.refusesCopy('write')]).toEqual([
      undefined,
      sense.thirdPartyDeviceFailure,
    ]);
  });
});

it('a copy reads nothing that its initiator may not read', async () => {
  const [source, fixture] = [new UnitFixture(), new UnitFixture()];
  const from = source.initiator(1);
  const unit = fixture.initiator(1, { copyUnit: () => from });
  const target = (naa: string): string => `e4000000 01030008 ${naa} ${'00'.repeat(12)} 00000200`;
  const list = Buffer.from(
    [
      '0500 0040 00000000 0000001c 00000000',
      target('3000000000000001'),
      target('3000000000000002'),
      `02000018 0001 0000 0000 0001 ${hex(0, 8)} ${hex(0, 8)}`,
    ]
      .join('')
      .replaceAll(' ', ''),
    'hex',
  );
  const copy = `8300 ${'00'.repeat(8)} 0000006c`;
  source.device.bytes.fill(9);
  expect((await run(unit, copy, list)).kind).toBe('good');
  expect(fixture.device.bytes[0]).toBe(9);
  const other = source.initiator(2);
  await run(other, ...reserveOut(0, 0, 2));
  await run(other, ...reserveOut(1, 2, 0, 3));
  source.device.bytes.fill(8);
  expect(await senseOf(unit, copy, list)).toEqual(sense.thirdPartyDeviceFailure);
  expect(fixture.device.bytes[0]).toBe(9);
});

describe('SANITIZE', () => {
  const overwrite = Buffer.from('01000001ee', 'hex');
  const cdb = '4801 0000000000 0005';

  it('is refused where another has begun since it came', async () => {
    const fixture = new UnitFixture(1024, realTime);
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    const late = [prepare(two, '4881 0000000000 0005'), prepare(two, '4882')];
    expect((await run(one, '4881 0000000000 0005', overwrite)).kind).toBe('good');
    for (const command of late) {
      expect(await two.run(command, [overwrite])).toMatchObject({ sense: sense.sanitizeInProgress });
    }
    await fixture.state.close();
  });

  it('is begun once where two initiators ask for it at once, and another comes', async () => {
    const fixture = new UnitFixture();
    const save = fixture.device.saveServerState.bind(fixture.device);
    fixture.device.saveServerState = async (state) => {
      await save(state);
      fixture.initiator(3);
      await new Promise((resolve) => setImmediate(resolve));
    };
    const letGo = fixture.device.holdWrites();
    const units = [fixture.initiator(1), fixture.initiator(2)];
    const outcomes = await Promise.all(units.map((unit) => run(unit, '4882')));
    expect(outcomes).toMatchObject([{ kind: 'good' }, { sense: sense.sanitizeInProgress }]);
    expect(fixture.device.calls.discards).toBe(1);
    letGo();
    await fixture.state.sanitize?.ended;
    expect(fixture.state.server.sanitize).toBeUndefined();
  });

  it('has ended only once what it wrote is on stable storage', async () => {
    const fixture = new UnitFixture();
    expect((await run(fixture.initiator(), cdb, overwrite)).kind).toBe('good');
    expect(fixture.device.calls.flushes).toBe(1);
  });

  it('has not failed where another node serves the unit by now, and is carried on there', async () => {
    const fixture = new UnitFixture();
    const write = fixture.device.write.bind(fixture.device);
    fixture.device.write = () => Promise.reject(new DeviceError('not-serving', 'another node is'));
    const unit = fixture.initiator();
    await run(unit, cdb, overwrite);
    expect(fixture.state.server.sanitize).toMatchObject({ failed: false });
    fixture.device.write = write;
    fixture.takeOver();
    fixture.initiator(2);
    await fixture.state.sanitize?.ended;
    expect(fixture.device.bytes.every((byte) => byte === 0xee)).toBe(true);
  });

  it('that has failed is not begun again by whoever serves the unit next', async () => {
    const fixture = new UnitFixture();
    const failed = { pattern: '', passes: 1, invert: false, unrestrictedExit: true, failed: true };
    fixture.device.serverState = encodeServerState({
      ...EMPTY_SERVER_STATE,
      sanitize: { method: 'block-erase', ...failed },
    });
    const unit = fixture.initiator();
    expect(fixture.state.sanitize).toBeUndefined();
    expect(await senseOf(unit, READY)).toEqual(sense.sanitizeFailed);
    expect(fixture.device.calls.discards).toBe(0);
  });

  it('that was stopped has not ended: whoever serves the unit next carries it on', async () => {
    const fixture = new UnitFixture(1024, realTime);
    const unit = fixture.initiator();
    await run(unit, '4881 0000000000 0005', overwrite);
    await fixture.state.close();
    expect(fixture.state.server.sanitize).toMatchObject({ method: 'overwrite', failed: false });
  });
});
