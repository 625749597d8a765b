import { describe, expect, it } from 'vitest';
import { COPY_LIST, hex, run, UnitFixture } from './unit-fixture.ts';

const block = (byte: number): Buffer => Buffer.alloc(512, byte);
const unmapList = Buffer.from(
  `00160010 00000000 ${hex(0, 8)} ${hex(8, 4)} 00000000`.replaceAll(' ', ''),
  'hex',
);
const copyList = Buffer.from(COPY_LIST.replaceAll(' ', ''), 'hex');
const withoutCache = Buffer.from(`00000000 0812${'00'.repeat(18)}`.replaceAll(' ', ''), 'hex');

/** Commands that change blocks, and whether they write them or give them up. */
const commands: readonly [string, 'writes' | 'discards', string, Buffer][] = [
  ['WRITE', 'writes', '2a00 00000000 00 0001', block(7)],
  ['WRITE AND VERIFY', 'writes', '2e00 00000000 00 0001', block(7)],
  ['COMPARE AND WRITE', 'writes', `8900 ${hex(0, 8)} 000000 01`, Buffer.concat([block(0), block(2)])],
  ['ORWRITE', 'writes', `8b00 ${hex(0, 8)} ${hex(1, 4)}`, block(7)],
  ['WRITE SAME', 'writes', '4100 00000000 00 0001', block(7)],
  ['WRITE SAME of zeros', 'discards', '4100 00000000 00 0008', block(0)],
  ['EXTENDED COPY', 'writes', `8300 ${'00'.repeat(8)} 0000004c`, copyList],
  ['UNMAP', 'discards', '4200 00000000 00 0018', unmapList],
];

describe.each(commands)('%s', (_, kind, cdb, data) => {
  it('is on stable storage before its answer once WCE was cleared, and need not be before', async () => {
    const fixture = new UnitFixture();
    const unit = fixture.initiator();
    const { calls } = fixture.device;
    expect((await run(unit, cdb, data)).kind).toBe('good');
    expect(calls).toMatchObject({ [kind]: 1, forced: 0, flushes: 0 });
    expect((await run(unit, '1510 0000 18 00', withoutCache)).kind).toBe('good');
    fixture.device.bytes.fill(0);
    calls.flushes = 0;
    expect((await run(unit, cdb, data)).kind).toBe('good');
    expect(calls[kind]).toBe(2);
    expect(calls.forced + calls.flushes).toBe(1);
  });
});

it.each([
  ['COMPARE AND WRITE', `8908 ${hex(0, 8)} 000000 01`, Buffer.concat([block(0), block(2)])],
  ['ORWRITE', `8b08 ${hex(0, 8)} ${hex(1, 4)}`, block(7)],
  ['WRITE', '2a08 00000000 00 0001', block(7)],
])('%s with FUA is, whatever WCE says', async (_, cdb, data) => {
  const fixture = new UnitFixture();
  expect((await run(fixture.initiator(), cdb, data)).kind).toBe('good');
  expect(fixture.device.calls.forced).toBe(1);
});
