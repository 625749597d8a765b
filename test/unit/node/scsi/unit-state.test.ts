import { describe, expect, it } from 'vitest';
import { dataOutBytes, type ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import { invalidCdbField, invalidListField, sense } from '../../../../node/scsi/sense.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { realTime } from '../../../support/real-time.ts';
import { dataOf, portName, prepare, run, senseOf, UnitFixture } from './unit-fixture.ts';

const WRITE = '2a00 00000000 00 0001';
const READ = '2800 00000000 00 0001';
const READY = '00';

describe('MODE SELECT', () => {
  const control = (flags2: string, flags4: string): Buffer =>
    Buffer.from(`00000000 0a0a ${flags2} 10 ${flags4} 00 0000 ffff 0000`.replaceAll(' ', ''), 'hex');
  const caching = (flags: string): Buffer =>
    Buffer.from(`00000000 0812 ${flags}${'00'.repeat(17)}`.replaceAll(' ', ''), 'hex');
  const select = (list: Buffer): string => `15100000 ${list.length.toString(16).padStart(2, '0')} 00`;

  it('SWP protects the medium from all, and the others are told', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    expect((await run(one, select(control('00', '08')), control('00', '08'))).kind).toBe('good');
    expect(await senseOf(two, READY)).toEqual(sense.modeParametersChanged);
    for (const unit of [one, two]) {
      expect(await senseOf(unit, WRITE)).toEqual(sense.softwareWriteProtected);
      expect((await run(unit, READ)).kind).toBe('good');
    }
    expect((await dataOf(two, '1a080a00ff')).subarray(2, 3).toString('hex')).toBe('90');
    // It lies with the device: whoever serves it next protects it as well.
    fixture.takeOver();
    expect(await senseOf(fixture.initiator(2), WRITE)).toEqual(sense.softwareWriteProtected);
    expect((await run(fixture.initiator(1), select(control('00', '00')), control('00', '00'))).kind).toBe(
      'good',
    );
    expect((await run(fixture.initiator(2), WRITE)).kind).toBe('good');
  });

  it('D_SENSE has sense data sent in descriptor format', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    await run(unit, select(control('04', '00')), control('04', '00'));
    expect(await run(unit, '2800 ffffffff 00 0001')).toMatchObject({ descriptorFormat: true });
    fixture.device.failure = new DeviceError('medium-error', 'rotten');
    expect(await run(unit, READ)).toMatchObject({ kind: 'check-condition', descriptorFormat: true });
  });

  it('without a write cache every write is forced, after what was cached is safe', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    await run(unit, WRITE);
    expect(fixture.device.calls).toMatchObject({ forced: 0, flushes: 0 });
    expect((await run(unit, select(caching('00')), caching('00'))).kind).toBe('good');
    expect(fixture.device.calls.flushes).toBe(1);
    await run(unit, WRITE);
    expect(fixture.device.calls.forced).toBe(1);
    expect((await dataOf(unit, '1a080800ff')).toString('hex').slice(8, 14)).toBe('881200');
    // The changeable and the default values.
    expect((await dataOf(unit, '1a084800ff')).toString('hex').slice(8, 14)).toBe('881204');
    expect((await dataOf(unit, '1a088800ff')).toString('hex').slice(8, 14)).toBe('881204');
  });

  it('changes nothing where anything cannot be changed', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    const wrong: [Buffer, object][] = [
      [control('20', '08'), { ...sense.invalidFieldInParameterList, field: { inCdb: false, byte: 6 } }],
      [
        Buffer.from('000000000a09', 'hex'),
        { ...sense.invalidFieldInParameterList, field: { inCdb: false, byte: 5 } },
      ],
      [Buffer.from('000000000200', 'hex'), sense.invalidFieldInParameterList],
      [Buffer.from('000000', 'hex'), sense.parameterListLengthError],
      [Buffer.from('000000080000000000000100', 'hex'), invalidListField(9)],
      [Buffer.from('000000080000000000010200', 'hex'), invalidListField(9)],
      [control('00', '08').subarray(0, 10), sense.parameterListLengthError],
    ];
    for (const [list, expected] of wrong)
      expect(await senseOf(unit, select(list), list)).toMatchObject(expected);
    expect(await senseOf(unit, `15000000 10 00`, control('00', '08'))).toEqual(invalidCdbField(1, 4));
    expect(fixture.device.serverState).toBeUndefined();
    fixture.device.writeCacheEnabled = false;
    expect(await senseOf(unit, '000000000000')).toEqual(sense.modeParametersChanged);
    expect(await senseOf(unit, select(caching('04')), caching('04'))).toMatchObject(
      sense.invalidFieldInParameterList,
    );
  });
});

describe('SANITIZE', () => {
  const overwrite = (passes: string, pattern: string): Buffer => {
    const length = (pattern.length / 2).toString(16).padStart(4, '0');
    return Buffer.from(`${passes}00${length}${pattern}`, 'hex');
  };
  const cdb = (action: string, list?: Buffer): string =>
    `48${action} 0000000000 ${(list?.length ?? 0).toString(16).padStart(4, '0')}`;

  it('overwrites with the pattern as often as is asked for, inverted in turn', async () => {
    const fixture = new UnitFixture(5000);
    const unit = fixture.initiator();
    const list = overwrite('82', 'c35a');
    const passes: string[] = [];
    const write = fixture.device.write.bind(fixture.device);
    fixture.device.write = (lba, parts, options) => {
      if (lba === 0)
        passes.push(
          Buffer.from(parts[0] as Uint8Array)
            .subarray(0, 3)
            .toString('hex'),
        );
      return write(lba, parts, options);
    };
    expect((await run(unit, cdb('01', list), list)).kind).toBe('good');
    expect(passes).toEqual(['3ca53c', 'c35ac3']);
    expect([fixture.device.bytes[512], fixture.device.bytes.at(-1)]).toEqual([0xc3, 0x5a]);
    expect(fixture.device.serverState).toBeDefined();
    expect((await run(unit, READY)).kind).toBe('good');
  });

  it.each(['02', '03'])('erases by giving all up: service action %s', async (action) => {
    const fixture = new UnitFixture();
    fixture.device.bytes.fill(1);
    expect((await run(fixture.initiator(), cdb(action))).kind).toBe('good');
    expect(fixture.device.bytes.every((byte) => byte === 0)).toBe(true);
    expect((await fixture.device.allocation(0)).allocated).toBe(false);
  });

  it('goes on by itself, keeps others out, and is carried on by whoever serves the unit next', async () => {
    const fixture = new UnitFixture(1024, realTime);
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    const list = overwrite('01', 'ee');
    expect((await run(one, cdb('81', list), list)).kind).toBe('good');
    expect(await senseOf(two, READ)).toMatchObject(sense.sanitizeInProgress);
    expect(await senseOf(two, cdb('02'))).toMatchObject(sense.sanitizeInProgress);
    expect((await dataOf(two, '03000000fc00')).toString('hex', 12, 14)).toBe('041b');
    expect((await run(two, '120000006000')).kind).toBe('good');
    // The node goes before it is done.
    await fixture.state.close();
    fixture.device.bytes.fill(1);
    const next = new UnitFixture();
    next.device.serverState = fixture.device.serverState;
    const unit = next.initiator();
    expect(await senseOf(unit, READY)).toMatchObject(sense.sanitizeInProgress);
    await next.state.sanitize?.ended;
    expect(next.device.bytes.every((byte) => byte === 0xee)).toBe(true);
    expect((await run(unit, READY)).kind).toBe('good');
    next.takeOver();
    expect((await run(next.initiator(), READY)).kind).toBe('good');
  });

  it('says when it has failed, until that is left behind', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    const discard = fixture.device.discard.bind(fixture.device);
    fixture.device.discard = () => Promise.reject(new DeviceError('medium-error', 'rotten'));
    expect(await senseOf(unit, cdb('22'))).toEqual(sense.sanitizeFailed);
    expect(await senseOf(unit, READ)).toEqual(sense.sanitizeFailed);
    fixture.device.discard = discard;
    expect((await run(unit, cdb('1f'))).kind).toBe('good');
    expect((await run(unit, READ)).kind).toBe('good');
  });

  it('is begun again where it has failed, which without AUSE is the one way out', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    const discard = fixture.device.discard.bind(fixture.device);
    fixture.device.discard = () => Promise.reject(new DeviceError('medium-error', 'rotten'));
    expect(await senseOf(unit, cdb('02'))).toEqual(sense.sanitizeFailed);
    expect(await senseOf(unit, cdb('1f'))).toEqual(sense.sanitizeFailed);
    expect(await senseOf(unit, READ)).toEqual(sense.sanitizeFailed);
    fixture.device.discard = discard;
    expect(await senseOf(unit, cdb('22')), 'with AUSE').toEqual(invalidCdbField(1, 5));
    expect((await run(unit, cdb('02'))).kind).toBe('good');
    expect((await run(unit, READ)).kind).toBe('good');
  });
});

describe('PERSISTENT RESERVE', () => {
  const out = (action: number, key: number, actionKey: number, type = 0, byte20 = 0): [string, Buffer] => {
    const list = Buffer.alloc(24);
    list.writeUInt32BE(key, 4);
    list.writeUInt32BE(actionKey, 12);
    list[20] = byte20;
    return [`5f${action.toString(16).padStart(2, '0')}0${type} 0000 00000018`, list];
  };

  it('PREEMPT AND ABORT ends what the preempted has under way, and tells it', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    await run(one, ...out(0, 0, 1));
    await run(two, ...out(0, 0, 2));
    await run(one, ...out(1, 1, 0, 3));
    const aborted: string[] = [];
    one.onAbortTasks(async () => void aborted.push('one'));
    two.onAbortTasks(async () => void aborted.push('two'));
    expect((await run(two, ...out(5, 2, 1, 3))).kind).toBe('good');
    expect(aborted).toEqual(['one']);
    expect(await senseOf(one, READY)).toEqual(sense.registrationsPreempted);
    expect(await senseOf(one, READY)).toEqual(sense.commandsCleared);
    expect((await run(one, READ)).kind).toBe('reservation-conflict');
    expect((await run(two, READ)).kind).toBe('good');
  });

  it('a write whose data came only after it was fenced off does not land', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    const pending = one.prepare(Buffer.from(WRITE.replaceAll(' ', '').padEnd(32, '0'), 'hex'), 0);
    await run(two, ...out(0, 0, 2));
    await run(two, ...out(1, 2, 0, 1));
    expect((await one.run(pending, [Buffer.alloc(512, 1)])).kind).toBe('reservation-conflict');
    expect(fixture.device.calls.writes).toBe(0);
  });

  const LATE = {
    WRITE,
    'WRITE SAME': '4100 00000000 00 0001',
    UNMAP: '4200 0000000000 0018',
    'COMPARE AND WRITE': `8900 ${'00'.repeat(8)} 00000001`,
    ORWRITE: `8b00 ${'00'.repeat(8)} 00000001`,
    'WRITE AND VERIFY': '2e02 00000000 00 0001',
  };
  it.each(Object.entries(LATE))(
    '%s whose data comes late is judged by what is forbidden then',
    async (_, cdb) => {
      const fixture = new UnitFixture(1024, realTime);
      const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
      fixture.device.bytes.fill(0xff);
      const data = Buffer.from(`0016001000000000${'0'.repeat(23)}8${'0'.repeat(8)}`.padEnd(2048, 'f'), 'hex');
      const late = (): (() => Promise<ScsiOutcome>) => {
        const command = prepare(one, cdb);
        return () => one.run(command, [data.subarray(0, dataOutBytes(command))]);
      };

      const beforeReservation = late();
      await run(two, ...out(0, 0, 2));
      await run(two, ...out(1, 2, 0, 3));
      expect((await beforeReservation()).kind).toBe('reservation-conflict');
      await run(two, ...out(3, 2, 0));

      const beforeProtection = late();
      const protect = Buffer.from('000000000a0a001008000000ffff0000', 'hex');
      expect((await run(two, '151000001000', protect)).kind).toBe('good');
      expect(await beforeProtection()).toMatchObject({ sense: sense.softwareWriteProtected });
      expect(fixture.device.calls).toMatchObject({ writes: 0, discards: 0 });
      const protectNoMore = Buffer.from('000000000a0a001000000000ffff0000', 'hex');
      expect((await run(two, '151000001000', protectNoMore)).kind).toBe('good');
      one.takeAttention();

      const beforeSanitize = late();
      const list = Buffer.from('0100000177', 'hex');
      expect((await run(two, '4881 0000000000 0005', list)).kind).toBe('good');
      expect(await beforeSanitize()).toMatchObject({ sense: sense.sanitizeInProgress });
      await fixture.state.close();
    },
  );

  it('reports who is registered, and by which port', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator(5);
    await run(unit, ...out(0, 0, 7, 0, 1));
    await run(unit, ...out(1, 7, 0, 6));
    const status = await dataOf(unit, '5e03 0000000000 03ff');
    expect(status.readUInt32BE(4)).toBe(status.length - 8);
    expect(status.subarray(8, 22).toString('hex')).toBe('0000000000000007000000000106');
    expect(status.subarray(36).toString('latin1').replaceAll('\0', '')).toBe(portName(5));
    // Persistence through power loss was asked for.
    expect((await dataOf(unit, '5e02 0000000000 00ff')).toString('hex')).toBe('00080d81ea010000');
  });

  it('nothing is changed while it cannot be made to last', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    fixture.device.failure = new DeviceError('no-space', 'full');
    expect(await senseOf(unit, ...out(0, 0, 7))).toEqual(sense.spaceAllocationFailed);
    fixture.device.failure = undefined;
    expect((await dataOf(unit, '5e00 0000000000 00ff')).toString('hex')).toBe('0000000000000000');
  });

  it('does not mix with RESERVE(6)', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    await run(one, '16');
    for (const unit of [one, two]) {
      expect((await run(unit, ...out(0, 0, 7))).kind).toBe('reservation-conflict');
      expect((await run(unit, '5e00 0000000000 00ff')).kind).toBe('reservation-conflict');
    }
    expect((await run(one, '17')).kind).toBe('good');
    await run(two, ...out(0, 0, 7));
    for (const unit of [one, two]) {
      expect((await run(unit, '16')).kind).toBe('reservation-conflict');
      expect((await run(unit, '17')).kind).toBe('reservation-conflict');
    }
  });

  it('lets others start the unit and allow removal, and nothing more of the kind', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    await run(two, ...out(0, 0, 2));
    await run(two, ...out(1, 2, 0, 3));
    const answers = async (cdb: string): Promise<string> => (await run(one, cdb)).kind;
    for (const cdb of ['1b0000000100', '1e0000000000', READY, '25']) expect(await answers(cdb)).toBe('good');
    for (const cdb of ['1b0000000000', '1b0000001100', '1e0000000100', '1a003f00ff', READ, WRITE])
      expect(await answers(cdb)).toBe('reservation-conflict');
  });
});

describe('the state a unit was left in', () => {
  it('is not guessed at where it cannot be read', async () => {
    const fixture = new UnitFixture();
    fixture.device.serverState = Buffer.from('{"version":2}');
    const unit = fixture.initiator();
    expect(await senseOf(unit, READ)).toEqual(sense.internalTargetFailure);
    expect(await senseOf(unit, WRITE)).toEqual(sense.internalTargetFailure);
    fixture.device.serverState = Buffer.from('not JSON');
    expect(await senseOf(unit, READ)).toEqual(sense.internalTargetFailure);
  });

  it('a disk that fills up is told once each time, before writes fail', async () => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    fixture.device.spaceIsLow = true;
    for (const unit of [one, two]) {
      expect((await run(unit, READ)).kind).toBe('good');
      expect(await senseOf(unit, WRITE)).toEqual(sense.thresholdReached);
      expect((await run(unit, WRITE)).kind).toBe('good');
    }
    fixture.device.spaceIsLow = false;
    expect((await run(one, WRITE)).kind).toBe('good');
    fixture.device.spaceIsLow = true;
    expect(await senseOf(one, WRITE)).toEqual({ key: 6, asc: 0x38, ascq: 0x07 });
    fixture.device.failure = new DeviceError('no-space', 'full');
    expect(await senseOf(one, WRITE)).toEqual({ key: 7, asc: 0x27, ascq: 0x07 });
  });

  it('a change of capacity is told once, before it is found out', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    Object.assign(fixture.device, { lengthBlocks: 2048 });
    expect(await senseOf(unit, READ)).toEqual(sense.capacityChanged);
    expect((await dataOf(unit, '25')).toString('hex')).toBe('000007ff00000200');
  });
});

describe('EXTENDED COPY', () => {
  const target = `e4000000 01030008 3000000000000001 ${'00'.repeat(12)} 00000200`;
  const segment = (from: number, to: number, blocks: number, destination = 0): string =>
    [
      '02000018 0000',
      destination.toString(16).padStart(4, '0'),
      '0000',
      blocks.toString(16).padStart(4, '0'),
      from.toString(16).padStart(16, '0'),
      to.toString(16).padStart(16, '0'),
    ].join(' ');
  const copy = (...segments: string[]): [string, Buffer] => {
    const head = `0500 0020 00000000 ${(segments.length * 28).toString(16).padStart(8, '0')} 00000000`;
    const list = Buffer.from(`${head}${target}${segments.join('')}`.replaceAll(' ', ''), 'hex');
    return [`8300 ${'00'.repeat(8)} ${list.length.toString(16).padStart(8, '0')}`, list];
  };
  const STATUS = `8400 05 ${'00'.repeat(7)} 00000100`;

  it('copies within the unit, also onto what is being copied, and keeps the result', async () => {
    const fixture = new UnitFixture(8192);
    for (let i = 0; i < 8192; i++) fixture.device.bytes.fill(i & 0xff, i * 512, (i + 1) * 512);
    const original = Buffer.from(fixture.device.bytes);
    const unit = fixture.initiator();
    expect((await run(unit, ...copy(segment(0, 100, 5000), segment(6000, 5900, 2000)))).kind).toBe('good');
    const found = Buffer.from(fixture.device.bytes);
    expect(found.subarray(100 * 512, 5100 * 512).equals(original.subarray(0, 5000 * 512))).toBe(true);
    expect(found.subarray(5900 * 512, 7900 * 512).equals(original.subarray(6000 * 512, 8000 * 512))).toBe(
      true,
    );
    expect((await dataOf(unit, STATUS)).toString('hex')).toBe('00000008010002f100001b58');
    expect(await senseOf(fixture.initiator(2), STATUS)).toEqual(invalidCdbField(2));
  });

  it('stops at the first segment that cannot be copied', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    expect(await senseOf(unit, ...copy(segment(0, 10, 5, 1)))).toEqual(sense.copyTargetNotReachable);
    expect(await senseOf(unit, ...copy(segment(0, 10, 5), segment(0, 1020, 5)))).toEqual(
      sense.copySegmentFailed,
    );
    expect((await dataOf(unit, STATUS)).toString('hex')).toBe('00000008020001f100000005');
  });
});
