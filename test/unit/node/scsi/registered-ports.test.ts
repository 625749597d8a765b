import { describe, expect, it } from 'vitest';
import type { LogicalUnit } from '../../../../node/scsi/logical-unit.ts';
import type { ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import { encodeTransportId } from '../../../../node/scsi/transport-id.ts';
import { INITIATOR } from '../iscsi/target-fixture.ts';
import { dataOf, hex, portName, run, UnitFixture } from './unit-fixture.ts';

/** REGISTER with SPEC_I_PT: who is registered beside the one that asks (SPC-4 §6.16.3, §7.6.4.6). */

const NONE = '0'.repeat(16);
const KEY = '00000000000000a1';
const REGISTER = 0x00;
const REGISTER_AND_MOVE = 0x07;

/** The name of an initiator alone, format 0. */
function nameOnly(name: string): Uint8Array {
  const text = Buffer.from(name.padEnd((name.length + 4) & ~3, '\0'));
  return Buffer.concat([Buffer.from(`0500${hex(text.length, 2)}`, 'hex'), text]);
}

function reserveOut(unit: LogicalUnit, action: number, list: Buffer): Promise<ScsiOutcome> {
  return run(unit, `5f${hex(action, 1)} 00 0000 ${hex(list.length, 4)}`, list);
}

function register(unit: LogicalUnit, ...transportIds: readonly Uint8Array[]): Promise<ScsiOutcome> {
  const ids = Buffer.concat(transportIds);
  const head = `${NONE}${KEY}00000000 08000000 ${hex(ids.length, 4)}`.replaceAll(' ', '');
  return reserveOut(unit, REGISTER, Buffer.concat([Buffer.from(head, 'hex'), ids]));
}

/** How often each of the ports 1 to 3 is registered. */
async function registered(unit: LogicalUnit): Promise<number[]> {
  const status = (await dataOf(unit, '5e03 0000000000 04ff')).toString('latin1');
  return [1, 2, 3].map((isid) => status.split(portName(isid)).length - 1);
}

describe('a registration for several ports', () => {
  it('is for those that are named, each once', async () => {
    const one = new UnitFixture().initiator(1);
    const named = [2, 1, 2].map((isid) => encodeTransportId(portName(isid)));
    expect((await register(one, ...named)).kind).toBe('good');
    expect(await registered(one)).toEqual([1, 1, 0]);
    expect((await dataOf(one, '5e00 0000000000 00ff')).readUInt32BE(4), 'two keys').toBe(16);
  });

  it('knows a port by the number that its ISID is', async () => {
    const fixture = new UnitFixture();
    const [one, other] = [1, 0xab].map((isid) => fixture.initiator(isid)) as [LogicalUnit, LogicalUnit];
    await register(one, encodeTransportId(portName(0xab).replace('ab', 'AB')));
    expect(
      (await reserveOut(other, REGISTER, Buffer.from(`${KEY}${NONE}0000000000000000`, 'hex'))).kind,
    ).toBe('good');
    expect((await dataOf(one, '5e00 0000000000 00ff')).readUInt32BE(4), 'one key is left').toBe(8);
  });

  it('is for all that are known of an initiator that is named without a port', async () => {
    const fixture = new UnitFixture();
    const [one] = [1, 3].map((isid) => fixture.initiator(isid)) as [LogicalUnit];
    expect((await register(one, nameOnly(INITIATOR))).kind).toBe('good');
    expect(await registered(one), 'and of no other').toEqual([1, 0, 1]);
  });

  it.each([
    ['an initiator that nobody knows', nameOnly(`${INITIATOR}0`)],
    ['a port where a name alone is due', nameOnly(portName(2))],
    ['another protocol', Buffer.concat([Buffer.from([0x46]), encodeTransportId(portName(2)).subarray(1)])],
  ])('is refused with %s, and is none', async (_, id) => {
    const one = new UnitFixture().initiator(1);
    expect(await register(one, encodeTransportId(portName(2)), id)).toMatchObject({
      sense: { asc: 0x26, field: { byte: 28 } },
    });
    expect(await registered(one)).toEqual([0, 0, 0]);
  });

  it('cannot be moved to an initiator without a port', async () => {
    const fixture = new UnitFixture();
    const [one] = [1, 2].map((isid) => fixture.initiator(isid)) as [LogicalUnit];
    await register(one);
    const id = nameOnly(INITIATOR);
    const head = `${KEY}00000000000000b200000001${hex(id.length, 4)}`;
    const moved = await reserveOut(one, REGISTER_AND_MOVE, Buffer.concat([Buffer.from(head, 'hex'), id]));
    expect(moved).toMatchObject({ sense: { asc: 0x26, field: { byte: 24 } } });
  });
});
