import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Sense, sense } from '../../../../node/scsi/sense.ts';
import { connectInitiator, type Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { MemoryDevice } from './memory-device.ts';
import { grant, IDENTITY, INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** EXTENDED COPY from one target to another, as SPC-4 §6.4 has it and hypervisors use it to clone disks. */

const OTHER_TARGET = 'iqn.2026-11.net.example:disk2';
const OTHER_INITIATOR = 'iqn.2026-11.net.example:client2';
const NAA = ['3000000000000001', '3000000000000002'] as const;
const BLOCKS = 4096;

let target: TestTarget;
let other: MemoryDevice;
const initiators: Initiator[] = [];

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: BLOCKS });
  other = new MemoryDevice(BLOCKS);
  target.decide = async ({ targetName }) => {
    const isFirst = targetName === TARGET;
    const granted = grant(new Map([[0, isFirst ? target.device : other]]), targetName);
    const naa = Buffer.from(NAA[isFirst ? 0 : 1], 'hex');
    return { ...granted, identity: { ...IDENTITY, naa } };
  };
  for (let n = 0; n < BLOCKS; n++) target.device.bytes.fill((n % 255) + 1, n * 512, (n + 1) * 512);
});

afterEach(async () => {
  for (const initiator of initiators.splice(0)) initiator.destroy();
  await target.portal.close();
});

async function attach(targetName: string, initiatorName = INITIATOR): Promise<Initiator> {
  const { host, port } = target;
  const initiator = await connectInitiator({ host, port, initiatorName, targetName });
  initiators.push(initiator);
  return initiator;
}

interface Segment {
  readonly source: 0 | 1;
  readonly destination: 0 | 1;
  readonly from: number;
  readonly to: number;
  readonly blocks: number;
}

async function copy(by: Initiator, ...segments: readonly Segment[]): Promise<Sense | undefined> {
  const targets = NAA.map((naa) => Buffer.from(`e400000001030008${naa}${'00'.repeat(12)}00000200`, 'hex'));
  const list = Buffer.concat([Buffer.alloc(16), ...targets, ...segments.map(encoded)]);
  list[0] = 7;
  list.writeUInt16BE(64, 2);
  list.writeUInt32BE(segments.length * 28, 8);
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x83;
  cdb.writeUInt32BE(list.length, 10);
  const { status, sense: bytes } = await by.command({ cdb, write: list });
  if (status === 0) return undefined;
  const at = Buffer.from(bytes);
  return { key: (at[2] as number) & 0xf, asc: at[12] as number, ascq: at[13] as number };
}

function encoded({ source, destination, from, to, blocks }: Segment): Buffer {
  const bytes = Buffer.alloc(28);
  bytes[0] = 2;
  bytes.writeUInt16BE(24, 2);
  bytes.writeUInt16BE(source, 4);
  bytes.writeUInt16BE(destination, 6);
  bytes.writeUInt16BE(blocks, 10);
  bytes.writeBigUInt64BE(BigInt(from), 12);
  bytes.writeBigUInt64BE(BigInt(to), 20);
  return bytes;
}

async function copied(by: Initiator): Promise<{ status: number; segments: number; blocks: number }> {
  const cdb = Buffer.from('8400070000000000000000000100000000', 'hex').subarray(0, 16);
  const data = Buffer.from((await by.command({ cdb, readBytes: 256 })).data);
  return { status: data[4] as number, segments: data.readUInt16BE(5), blocks: data.readUInt32BE(8) };
}

const across: Segment = { source: 0, destination: 1, from: 100, to: 7, blocks: 3000 };

describe('between two disks that the initiator is logged in to', () => {
  test.each([
    ['to the other', TARGET],
    ['from the other', OTHER_TARGET],
  ])('copies %s, and keeps the result', async (_, asked) => {
    const one = await attach(TARGET);
    const two = await attach(OTHER_TARGET);
    const by = asked === TARGET ? one : two;
    expect(await copy(by, across)).toBeUndefined();
    const source = target.device.bytes.subarray(100 * 512, 3100 * 512);
    expect(Buffer.compare(other.bytes.subarray(7 * 512, 3007 * 512), source)).toBe(0);
    expect(other.bytes.subarray(0, 7 * 512).every((byte) => byte === 0)).toBe(true);
    expect(other.bytes.subarray(3007 * 512).every((byte) => byte === 0)).toBe(true);
    expect(await copied(by)).toEqual({ status: 1, segments: 1, blocks: 3000 });
  });

  test('checks the range against the disk that it is on', async () => {
    Object.assign(other, { lengthBlocks: 100 });
    const by = await attach(TARGET);
    await attach(OTHER_TARGET);
    expect(await copy(by, { ...across, to: 90, blocks: 11 })).toEqual(sense.copySegmentFailed);
    expect(await copy(by, { ...across, to: 90, blocks: 10 })).toBeUndefined();
  });

  test('writes nothing where another initiator has reserved the disk', async () => {
    const by = await attach(TARGET);
    await attach(OTHER_TARGET);
    const holder = await attach(OTHER_TARGET, OTHER_INITIATOR);
    const keys = Buffer.alloc(24);
    keys[15] = 1;
    const register = Buffer.from('5f000000000000001800', 'hex');
    expect((await holder.command({ cdb: register, write: keys })).status).toBe(0);
    const held = Buffer.alloc(24);
    held[7] = 1;
    const reserve = Buffer.from('5f010100000000001800', 'hex');
    expect((await holder.command({ cdb: reserve, write: held })).status).toBe(0);
    const writes = other.calls.writes;
    expect(await copy(by, across)).toEqual(sense.thirdPartyDeviceFailure);
    expect(other.calls.writes).toBe(writes);
    // Write exclusive: reading goes on.
    expect(await copy(by, { ...across, source: 1, destination: 0 })).toBeUndefined();
  });

  test('says which way a disk was lost that is served elsewhere by now, and keeps its own session', async () => {
    const by = await attach(TARGET);
    await attach(OTHER_TARGET);
    other.failure = new DeviceError('not-serving', 'the group has moved');
    expect(await copy(by, across)).toEqual(sense.copyTargetNotReachable);
    expect(await copied(by)).toEqual({ status: 2, segments: 0, blocks: 0 });
  });

  test('says so when the other disk is full', async () => {
    const by = await attach(TARGET);
    await attach(OTHER_TARGET);
    other.failure = new DeviceError('no-space', 'full');
    expect(await copy(by, across)).toEqual(sense.thirdPartyDeviceFailure);
  });
});

describe('does not reach', () => {
  test('a disk that the initiator is not logged in to', async () => {
    const by = await attach(TARGET);
    expect(await copy(by, across)).toEqual(sense.copyTargetNotReachable);
    expect(other.calls.writes).toBe(0);
  });

  test('a disk that only another initiator is logged in to', async () => {
    const by = await attach(TARGET);
    await attach(OTHER_TARGET, OTHER_INITIATOR);
    expect(await copy(by, across)).toEqual(sense.copyTargetNotReachable);
    expect(other.calls.writes).toBe(0);
  });

  test('a disk that the initiator has logged out of', async () => {
    const by = await attach(TARGET);
    const gone = await attach(OTHER_TARGET);
    gone.destroy();
    while (target.portal.sessions().length > 1) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(await copy(by, across)).toEqual(sense.copyTargetNotReachable);
  });
});
