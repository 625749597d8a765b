import { describe, expect, it } from 'vitest';
import { WriteGate } from '../../../../node/scsi/write-gate.ts';
import { COPY_LIST, hex, run, UnitFixture } from './unit-fixture.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const block = (byte: number): Buffer => Buffer.alloc(512, byte);

describe('the gate of a unit', () => {
  it('lets one that is to be alone wait for the last of several writes', async () => {
    const gate = new WriteGate();
    const steps: string[] = [];
    for (let i = 0; i < 3; i++) expect(gate.enter()).toBeUndefined();
    const alone = gate.alone(async () => steps.push('alone'));
    for (let i = 0; i < 3; i++) {
      expect(steps).toEqual([]);
      gate.leave();
      await turn();
    }
    await alone;
    expect(steps).toEqual(['alone']);
  });

  it('lets nothing overtake one that waits, and then all that waited behind it at once', async () => {
    const gate = new WriteGate();
    const steps: string[] = [];
    expect(gate.enterNow()).toBe(true);
    let end: () => void = () => {};
    const alone = gate.alone(() => {
      steps.push('alone');
      return new Promise<void>((resolve) => {
        end = resolve;
      });
    });
    expect(gate.enterNow()).toBe(false);
    const behind = ['one', 'other'].map(async (name) => {
      await gate.enter();
      steps.push(name);
    });
    gate.leave();
    await turn();
    expect(steps).toEqual(['alone']);
    end();
    await alone;
    await Promise.all(behind);
    expect(steps).toEqual(['alone', 'one', 'other']);
  });
});

/** Whatever changes blocks waits while one command reads, decides and writes. */
describe('while COMPARE AND WRITE has the unit for itself', () => {
  const unmapList = Buffer.from(
    `00160010 00000000 ${hex(0, 8)} ${hex(8, 4)} 00000000`.replaceAll(' ', ''),
    'hex',
  );
  const copyList = Buffer.from(COPY_LIST.replaceAll(' ', ''), 'hex');
  const others: Record<string, [string, Buffer]> = {
    'WRITE SAME': ['4100 00000000 00 0001', block(7)],
    'WRITE SAME of zeros': ['4100 00000000 00 0001', block(0)],
    UNMAP: ['4200 00000000 00 0018', unmapList],
    ORWRITE: [`8b00 ${hex(0, 8)} ${hex(1, 4)}`, block(7)],
    'EXTENDED COPY': [`8300 ${'00'.repeat(8)} 0000004c`, copyList],
    WRITE: ['2a00 00000000 00 0001', block(7)],
  };

  it.each(Object.entries(others))('%s waits', async (_, [cdb, data]) => {
    const fixture = new UnitFixture();
    const [one, two] = [fixture.initiator(1), fixture.initiator(2)];
    const letGo = fixture.device.holdWrites();
    const swapping = run(one, `8900 ${hex(0, 8)} 000000 01`, Buffer.concat([block(0), block(2)]));
    await turn();
    const { writes, discards } = fixture.device.calls;
    const other = run(two, cdb, data);
    await turn();
    expect(fixture.device.calls).toMatchObject({ writes, discards });
    letGo();
    expect((await swapping).kind).toBe('good');
    expect((await other).kind).toBe('good');
  });
});

it('ORWRITE loses no bit, whoever else sets some meanwhile', async () => {
  const fixture = new UnitFixture();
  const read = fixture.device.read.bind(fixture.device);
  fixture.device.read = async (lba, lengthBlocks) => {
    const parts = await read(lba, lengthBlocks);
    await turn();
    return parts;
  };
  const units = [1, 2, 3].map((isid) => fixture.initiator(isid));
  await Promise.all(units.map((unit, i) => run(unit, `8b00 ${hex(0, 8)} ${hex(1, 4)}`, block(1 << i))));
  expect(fixture.device.bytes[0]).toBe(7);
});
