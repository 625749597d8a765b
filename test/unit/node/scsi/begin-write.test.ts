import { describe, expect, it } from 'vitest';
import type { LogicalUnit } from '../../../../node/scsi/logical-unit.ts';
import type { PreparedCommand, ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import type { WriteEnded } from '../../../../storage/block-device.ts';
import { prepare, run, UnitFixture } from './unit-fixture.ts';

const WRITE = '2a00 00000000 00 0001';
const COMPARE_AND_WRITE = '8900 0000000000000000 000000 01';
const block = (byte: number): Buffer => Buffer.alloc(512, byte);

type Write = Extract<PreparedCommand, { kind: 'write' }>;

/** A unit whose device begins writes at once, or declines to. */
function makeUnits() {
  const fixture = new UnitFixture();
  const begun: { readonly forced: boolean; readonly ended: WriteEnded }[] = [];
  const device = Object.assign(fixture.device, {
    begins: true,
    beginWrite(
      _lba: number,
      _parts: unknown,
      options: { forceUnitAccess: boolean },
      ended: WriteEnded,
    ): boolean {
      if (device.begins) begun.push({ forced: options.forceUnitAccess, ended });
      return device.begins;
    },
  });
  return { fixture, device, begun, one: fixture.initiator(1), two: fixture.initiator(2) };
}

function begin(
  unit: LogicalUnit,
  command = prepare(unit, WRITE),
): { begins: boolean; outcomes: ScsiOutcome[] } {
  const outcomes: ScsiOutcome[] = [];
  const begins = unit.beginWrite(command as Write, [block(1)], (outcome) => outcomes.push(outcome));
  return { begins, outcomes };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a write that is begun at once', () => {
  it('ends with what its device says', () => {
    const { one, begun } = makeUnits();
    const { begins, outcomes } = begin(one);
    expect([begins, outcomes]).toEqual([true, []]);
    begun[0]?.ended(undefined);
    expect(outcomes).toMatchObject([{ kind: 'good' }]);
  });

  it('is none where somebody holds the unit by now: that is looked at when it is carried out', async () => {
    const { one, two, begun } = makeUnits();
    const late = prepare(one, WRITE);
    expect((await run(two, '16')).kind).toBe('good');
    expect(begin(one, late).begins).toBe(false);
    expect(begun).toEqual([]);
    expect((await one.run(late, [block(1)])).kind).toBe('reservation-conflict');
  });

  it('is none while a command that reads, decides and writes has the unit for itself', async () => {
    const { fixture, one, two, begun } = makeUnits();
    const letGo = fixture.device.holdWrites();
    const swapping = run(two, COMPARE_AND_WRITE, Buffer.concat([block(0), block(2)]));
    await turn();
    expect(begin(one).begins).toBe(false);
    expect(begun).toEqual([]);
    letGo();
    expect((await swapping).kind).toBe('good');
    expect(begin(one).begins).toBe(true);
  });

  it('keeps such a command waiting until it has ended, and only so long', async () => {
    const { one, two, begun } = makeUnits();
    begin(one);
    let swapped: ScsiOutcome | undefined;
    const swapping = run(two, COMPARE_AND_WRITE, Buffer.concat([block(0), block(2)])).then((outcome) => {
      swapped = outcome;
    });
    await turn();
    expect(swapped).toBeUndefined();
    begun[0]?.ended(undefined);
    await swapping;
    expect(swapped?.kind).toBe('good');
  });

  it('keeps nobody waiting where its device declines it', async () => {
    const { device, one, two } = makeUnits();
    device.begins = false;
    expect(begin(one).begins).toBe(false);
    expect((await run(two, COMPARE_AND_WRITE, Buffer.concat([block(0), block(2)]))).kind).toBe('good');
  });

  it('goes to stable storage where an initiator has cleared WCE', async () => {
    const { one, begun } = makeUnits();
    begin(one);
    const withoutCache = Buffer.from(`00000000 0812${'00'.repeat(18)}`.replaceAll(' ', ''), 'hex');
    expect((await run(one, '1510 0000 18 00', withoutCache)).kind).toBe('good');
    begin(one);
    expect(begun.map(({ forced }) => forced)).toEqual([false, true]);
  });
});

it('a read with FUA is not answered from memory', () => {
  const { fixture, one } = makeUnits();
  Object.assign(fixture.device, { readNow: () => [block(3)] });
  expect(one.runNow(prepare(one, '2800 00000000 00 0001'))).toMatchObject({ kind: 'good' });
  expect(one.runNow(prepare(one, '2808 00000000 00 0001'))).toBeUndefined();
});
