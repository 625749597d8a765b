import { describe, expect, it } from 'vitest';
import { MAX_UNMAP_BLOCKS } from '../../../../node/scsi/limits.ts';
import { invalidCdbField, sense } from '../../../../node/scsi/sense.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { dataOf, hex, prepare, run, senseOf, UnitFixture } from './unit-fixture.ts';

const block = (byte: number, blocks = 1): Buffer => Buffer.alloc(blocks * 512, byte);

describe('COMPARE AND WRITE', () => {
  const cdb = (lba: number, blocks: number): string => `8900 ${hex(lba, 8)} 000000 ${hex(blocks, 1)}`;

  it('writes what it was given if the blocks hold what they should', async () => {
    const { device, initiator } = bound(new UnitFixture());
    const unit = initiator();
    expect((await run(unit, cdb(3, 2), Buffer.concat([block(0, 2), block(7, 2)]))).kind).toBe('good');
    expect([device.bytes[3 * 512], device.bytes[5 * 512 - 1], device.bytes[5 * 512]]).toEqual([7, 7, 0]);
    const expected = Buffer.concat([block(7), block(0), block(9, 2)]);
    expect(await senseOf(unit, cdb(3, 2), expected)).toEqual({ ...sense.miscompare, information: 512 });
    expect(device.bytes[3 * 512]).toBe(7);
  });

  it('loses no update, whoever else writes meanwhile', async () => {
    const fixture = new UnitFixture();
    slowDown(fixture);
    const units = [1, 2, 3].map((isid) => fixture.initiator(isid));
    await Promise.all(
      units.map(async (unit, who) => {
        for (let done = 0; done < 20; ) {
          const now = Buffer.from(fixture.device.bytes.subarray(0, 512));
          const next = Buffer.from(now);
          next.writeUInt32BE(now.readUInt32BE(0) + 1, 0);
          next[4 + who] = (next[4 + who] as number) + 1;
          const outcome = await run(unit, cdb(0, 1), Buffer.concat([now, next]));
          if (outcome.kind === 'good') done++;
        }
      }),
    );
    expect(Buffer.from(fixture.device.bytes.subarray(0, 8)).toString('hex')).toBe('0000003c14141400');
  });

  it('waits for writes that came before it, and holds up those after it', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    let open: () => void = () => {};
    fixture.device.gate = new Promise((resolve) => {
      open = resolve;
    });
    const order: string[] = [];
    const note = (name: string) => (): unknown => order.push(name);
    const before = run(unit, '2a00 00000000 00 0001', block(1)).then(note('before'));
    const swap = run(unit, cdb(0, 1), Buffer.concat([block(1), block(2)])).then((outcome) => {
      order.push(outcome.kind);
    });
    const after = run(unit, '2a00 00000000 00 0001', block(3)).then(note('after'));
    open();
    await Promise.all([before, swap, after]);
    expect(order).toEqual(['before', 'good', 'after']);
    expect(fixture.device.bytes[0]).toBe(3);
  });

  it('wants twice its blocks, no more and no less', () => {
    const unit = new UnitFixture().initiator();
    expect(prepare(unit, cdb(0, 4))).toMatchObject({ dataOutBytes: 4096, exactData: true });
    expect(prepare(unit, cdb(0, 0))).toMatchObject({ dataOutBytes: 0, exactData: true });
  });
});

describe('ORWRITE', () => {
  it('sets bits and clears none', async () => {
    const { device, initiator } = bound(new UnitFixture());
    device.bytes.fill(0xa0, 512, 1024);
    expect((await run(initiator(), `8b00 ${hex(1, 8)} ${hex(1, 4)}`, block(0x0f))).kind).toBe('good');
    expect([device.bytes[511], device.bytes[512], device.bytes[1024]]).toEqual([0, 0xaf, 0]);
  });
});

describe('WRITE SAME', () => {
  const same10 = (flags: string, lba: number, blocks: number): string =>
    `41${flags} ${hex(lba, 4)} 00 ${hex(blocks, 2)}`;
  const same16 = (flags: string, lba: number, blocks: number): string =>
    `93${flags} ${hex(lba, 8)} ${hex(blocks, 4)}`;

  it('repeats one block, to the end of the medium if no length is given', async () => {
    const { device, initiator } = bound(new UnitFixture(5000));
    const unit = initiator();
    expect((await run(unit, same10('00', 2, 3), block(5))).kind).toBe('good');
    expect([device.bytes[1023], device.bytes[1024], device.bytes[2559], device.bytes[2560]]).toEqual([
      0, 5, 5, 0,
    ]);
    expect((await run(unit, same16('00', 10, 0), block(6))).kind).toBe('good');
    expect([device.bytes[10 * 512 - 1], device.bytes[10 * 512], device.bytes.at(-1)]).toEqual([0, 6, 6]);
  });

  it('gives blocks up with UNMAP, with NDOB, and where they are to be zeros', async () => {
    const { device, initiator } = bound(new UnitFixture());
    const unit = initiator();
    for (const cdb of [same10('08', 0, 16), same16('08', 0, 16), same16('01', 0, 16), same16('00', 0, 16)]) {
      device.bytes.fill(1, 0, 8192);
      const before = device.calls.discards;
      expect((await run(unit, cdb)).kind).toBe('good');
      expect(device.calls.discards - before).toBe(1);
      expect(device.bytes.subarray(0, 8192).every((byte) => byte === 0)).toBe(true);
    }
  });

  it('is refused beyond the medium, with an anchor, and on a protected one', async () => {
    const { device, initiator } = bound(new UnitFixture());
    const unit = initiator();
    expect(await senseOf(unit, same10('00', 1020, 5))).toMatchObject(sense.lbaOutOfRange);
    expect(await senseOf(unit, same10('18', 0, 1))).toEqual(invalidCdbField(1, 4));
    device.readOnly = true;
    expect(await senseOf(unit, same10('00', 0, 1))).toEqual(sense.writeProtected);
  });
});

describe('UNMAP and GET LBA STATUS', () => {
  const unmap = (...ranges: [number, number][]): { cdb: string; list: Buffer } => {
    const descriptors = ranges.map(([lba, blocks]) => `${hex(lba, 8)}${hex(blocks, 4)}00000000`).join('');
    const length = descriptors.length / 2;
    const list = Buffer.from(`${hex(length + 6, 2)}${hex(length, 2)}00000000${descriptors}`, 'hex');
    return { cdb: `4200 00000000 00 ${hex(list.length, 2)}`, list };
  };
  const status = (lba: number, bytes: number): string => `9e12 ${hex(lba, 8)} ${hex(bytes, 4)}`;

  it('what is given up reads as zeros and is told apart', async () => {
    const { device, initiator } = bound(new UnitFixture());
    device.bytes.fill(1);
    const unit = initiator();
    const { cdb, list } = unmap([8, 16], [100, 4], [0, 0]);
    expect((await run(unit, cdb, list)).kind).toBe('good');
    expect([device.bytes[4095], device.bytes[4096], device.bytes[24 * 512]]).toEqual([1, 0, 1]);
    expect([device.bytes[100 * 512 - 1], device.bytes[100 * 512], device.bytes[104 * 512]]).toEqual([
      1, 0, 1,
    ]);
    const extents = (data: Buffer): number[][] =>
      Array.from({ length: (data.length - 8) / 16 }, (_, i) => [
        Number(data.readBigUInt64BE(8 + i * 16)),
        data.readUInt32BE(16 + i * 16),
        data.readUInt8(20 + i * 16),
      ]);
    expect(extents(await dataOf(unit, status(0, 1024)))).toEqual([
      [0, 8, 0],
      [8, 16, 1],
      [24, 1000, 0],
    ]);
    expect(extents(await dataOf(unit, status(16, 24)))).toEqual([[16, 8, 1]]);
    expect(extents(await dataOf(unit, status(17, 24)))).toEqual([[24, 1000, 0]]);
    expect(await senseOf(unit, status(1024, 24))).toMatchObject(sense.lbaOutOfRange);
  });

  it('gives nothing up if anything is wrong with the list', async () => {
    const { device, initiator } = bound(new UnitFixture());
    const unit = initiator();
    const beyond = unmap([0, 8], [1020, 5]);
    expect(await senseOf(unit, beyond.cdb, beyond.list)).toEqual({
      ...sense.lbaOutOfRange,
      information: 1020,
    });
    const many = unmap(...Array.from({ length: 257 }, (): [number, number] => [0, 1]));
    expect(await senseOf(unit, many.cdb, many.list)).toMatchObject(sense.invalidFieldInParameterList);
    expect(await senseOf(unit, '4200 00000000 00 0007')).toEqual(sense.parameterListLengthError);
    expect(device.calls.discards).toBe(0);
    const big = bound(new UnitFixture(MAX_UNMAP_BLOCKS + 8)).initiator();
    const long = unmap([0, MAX_UNMAP_BLOCKS], [0, 1]);
    expect(await senseOf(big, long.cdb, long.list)).toMatchObject(sense.invalidFieldInParameterList);
  });
});

describe('WRITE AND VERIFY', () => {
  it('reads back what it wrote', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    expect((await run(unit, '2e00 00000001 00 0001', block(1))).kind).toBe('good');
    expect((await run(unit, '2e02 00000001 00 0001', block(1))).kind).toBe('good');
    expect(fixture.device.calls).toMatchObject({ writes: 2, reads: 2 });
    // A disk that does not keep what it is given.
    fixture.device.write = async () => {};
    expect(await senseOf(unit, '2e02 00000001 00 0001', block(2))).toEqual({
      ...sense.miscompare,
      information: 0,
    });
    expect(await senseOf(unit, '2e04 00000001 00 0001', block(2))).toEqual(invalidCdbField(1, 2));
  });
});

describe('WRITE ATOMIC and PRE-FETCH', () => {
  it('an atomic write has a limit of its own, and no boundary', async () => {
    const unit = new UnitFixture(8192).initiator();
    expect(prepare(unit, `9c00 ${hex(1, 8)} 0000 0400`)).toMatchObject({ kind: 'write', lengthBlocks: 1024 });
    expect(await senseOf(unit, `9c00 ${hex(1, 8)} 0000 0401`)).toEqual(invalidCdbField(12));
    expect(await senseOf(unit, `9c00 ${hex(1, 8)} 0001 0001`)).toEqual(invalidCdbField(10));
  });

  it('reads ahead unless it may not take time', async () => {
    const fixture = new UnitFixture(8192);
    const unit = fixture.initiator();
    expect((await run(unit, '3400 00000000 00 0000')).kind).toBe('good');
    expect(fixture.device.calls.reads).toBe(4);
    expect((await run(unit, '3402 00000000 00 0010')).kind).toBe('good');
    expect(fixture.device.calls.reads).toBe(4);
    expect(await senseOf(unit, `9000 ${hex(8192, 8)} ${hex(1, 4)}`)).toMatchObject(sense.lbaOutOfRange);
  });
});

it('a full device is told as such, whatever was to be written', async () => {
  const fixture = new UnitFixture();
  const unit = fixture.initiator();
  fixture.device.failure = new DeviceError('no-space', 'full');
  for (const cdb of ['2a00 00000000 00 0001', '4100 00000000 00 0001', `8b00 ${hex(0, 8)} ${hex(1, 4)}`]) {
    expect(await senseOf(unit, cdb, block(1)), cdb).toEqual(sense.spaceAllocationFailed);
  }
});

function bound(fixture: UnitFixture): { device: UnitFixture['device']; initiator: UnitFixture['initiator'] } {
  return { device: fixture.device, initiator: (isid) => fixture.initiator(isid) };
}

/** Lets others come in between whatever is not kept together. */
function slowDown({ device }: UnitFixture): void {
  const read = device.read.bind(device);
  device.read = async (lba, lengthBlocks) => {
    const parts = await read(lba, lengthBlocks);
    await new Promise((resolve) => setImmediate(resolve));
    return parts;
  };
}
