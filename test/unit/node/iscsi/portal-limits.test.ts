import { afterEach, expect, test } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import type { PortalLimits } from '../../../../node/iscsi/limits.ts';
import { opcode, RESERVED_TAG } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import type { Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { AttachedInitiators } from './attached-initiators.ts';
import { MemoryDevice } from './memory-device.ts';
import { until } from './raw-initiator.ts';
import { grant, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

let target: TestTarget;
const initiators = new AttachedInitiators(() => target);

afterEach(() => initiators.end());

async function withClock(limits: Partial<PortalLimits>): Promise<ManualClock> {
  const clock = new ManualClock();
  target = await startTarget({ clock, limits });
  return clock;
}

/** iPXE's terms. */
const ipxeKeys = { ImmediateData: 'No', InitialR2T: 'Yes' };
const BLOCKS = 2048;
const MEBIBYTE = 1_048_576;

test('writes of many sessions wait for memory that all share, and all are carried out', async () => {
  target = await startTarget({ lengthBlocks: 65_536, limits: { memoryBytes: 4 * MEBIBYTE } });
  const sessions = await Promise.all(
    [1, 2, 3, 4, 5, 6, 7, 8].map((n) => initiators.attach({ isid: `40000000000${n}`, queueDepth: 32 })),
  );
  let release = (): void => {};
  target.device.gate = new Promise((resolve) => {
    release = resolve;
  });
  const writes = sessions.flatMap((session, s) =>
    [0, 1, 2, 3].map((n) => session.write((s * 4 + n) * BLOCKS, Buffer.alloc(MEBIBYTE, s * 4 + n + 1))),
  );
  await until(() => target.counters.get('iscsi.connection.paused') > 0);
  // Every session may hold a little, and some more to finish what they began; far from all they would send.
  expect(target.device.calls.writes).toBeLessThan(24);
  target.device.gate = undefined;
  release();
  await Promise.all(writes);
  for (let n = 0; n < 32; n++) expect(target.device.bytes[(n + 1) * MEBIBYTE - 1]).toBe(n + 1);
});

/** A write of 200 KiB whose data comes with the command, in pieces; the answer is waited for by its tag. */
function writeInPieces(initiator: Initiator, lba: number, fill: number) {
  const data = Buffer.alloc(400 * 512, fill);
  const header = Buffer.alloc(pdu.HEADER_BYTES);
  const fields = { cmdSN: initiator.nextCmdSN, initiatorTaskTag: 77, dataSegmentLength: data.length };
  const expected = { expectedDataTransferLength: data.length };
  pdu.scsiCommand.encode(
    { opcode: opcode.scsiCommand, final: true, write: true, ...fields, ...expected },
    header,
  );
  header.set([0x2a, 0, 0, 0, lba >> 8, lba & 0xff, 0, 400 >> 8, 400 & 0xff, 0], pdu.CDB_OFFSET);
  const bytes = Buffer.concat([header, data]);
  const { socket } = initiator.loggedIn.wire;
  return {
    begin: () => socket.write(bytes.subarray(0, 190_000)),
    finish: () => socket.write(bytes.subarray(190_000)),
  };
}

test('what has come of PDUs that are not whole counts, and they all become whole in the end', async () => {
  target = await startTarget({ limits: { memoryBytes: MEBIBYTE } });
  const numbers = Array.from({ length: 16 }, (_, n) => n);
  const sessions = await Promise.all(
    numbers.map((n) => initiators.attach({ isid: `4000000000${(n + 16).toString(16)}` })),
  );
  const writes = sessions.map((session, n) => writeInPieces(session, n * 400, n + 1));
  for (const write of writes) write.begin();
  await until(() => target.counters.get('iscsi.connection.paused') > 0);
  expect(target.device.calls.writes).toBe(0);
  for (const write of writes) write.finish();
  await until(() => target.device.calls.writes === 16);
  for (const n of numbers) expect(target.device.bytes[(n + 1) * 400 * 512 - 1]).toBe(n + 1);
});

test('an initiator that never sends the rest of a PDU is dropped', async () => {
  const clock = await withClock({ stallTimeoutMs: 60_000, nopTimeoutMs: 3_600_000_000 });
  const initiator = await initiators.attach();
  const gone = new Promise((resolve) => initiator.onClose(resolve));
  writeInPieces(initiator, 0, 1).begin();
  // When the bytes are there is not to be seen from here; once they are, the next minute is the last.
  await until(() => {
    clock.advance(61_000);
    return target.counters.get('iscsi.connection.dropped.data-not-sent') === 1;
  });
  await gone;
});

test('a session that does not read its answers leaves the others room, and is dropped', async () => {
  const clock = await withClock({ memoryBytes: 2 * MEBIBYTE, stallTimeoutMs: 60_000, nopIdleMs: 600_000 });
  const greedy = await initiators.attach({ isid: '400000000001', queueDepth: 64 });
  const other = await initiators.attach({ isid: '400000000002' });
  greedy.loggedIn.wire.socket.pause();
  const reads = Array.from({ length: 32 }, (_, n) => greedy.read(n * BLOCKS, BLOCKS));
  const lost = Promise.allSettled(reads);
  await until(() => target.counters.get('iscsi.connection.paused') > 0);
  for (let n = 0; n < 8; n++) await other.write(n, Buffer.alloc(512, n));
  clock.advance(1000);
  clock.advance(61_000);
  await until(() => target.counters.get('iscsi.connection.dropped.answers-not-taken') === 1);
  greedy.destroy();
  await lost;
  await other.read(0, 8);
});

test('a session with many large writes to a disk that stands still leaves those to another disk room', async () => {
  target = await startTarget({ lengthBlocks: 65_536, limits: { memoryBytes: 4 * MEBIBYTE } });
  const otherTarget = `${TARGET}-other`;
  const otherDisk = new MemoryDevice(65_536);
  target.decide = async ({ targetName }) =>
    targetName === otherTarget
      ? grant(new Map([[0, otherDisk]]), otherTarget)
      : grant(new Map([[0, target.device]]));
  const greedy = await initiators.attach({ isid: '400000000001', queueDepth: 64 });
  const other = await initiators.attach({ isid: '400000000002', targetName: otherTarget });
  let release = (): void => {};
  target.device.gate = new Promise((resolve) => {
    release = resolve;
  });
  const writes = Array.from({ length: 24 }, (_, n) =>
    greedy.write(n * BLOCKS, Buffer.alloc(MEBIBYTE, n + 1)),
  );
  await until(() => target.counters.get('iscsi.connection.paused') > 0);
  // None of the greedy one's has ended, and none will before these have.
  for (let n = 0; n < 64; n++) await other.write(n * 8, Buffer.alloc(4096, n + 1));
  expect(otherDisk.bytes[64 * 4096 - 1]).toBe(64);
  expect(target.device.bytes.every((byte) => byte === 0)).toBe(true);
  target.device.gate = undefined;
  release();
  await Promise.all(writes);
});

test('an initiator that never sends the data it was asked for is dropped', async () => {
  const clock = await withClock({ stallTimeoutMs: 60_000 });
  const initiator = await initiators.attach({ keys: ipxeKeys });
  const { wire } = initiator.loggedIn;
  const header = wire.header();
  header.fill(0);
  const numbers = { cmdSN: initiator.nextCmdSN, initiatorTaskTag: 77, expectedDataTransferLength: 512 };
  pdu.scsiCommand.encode({ opcode: opcode.scsiCommand, final: true, write: true, ...numbers }, header);
  header.set(Buffer.from('2a000000000000000100', 'hex'), pdu.CDB_OFFSET);
  wire.send(header);
  const gone = new Promise((resolve) => initiator.onClose(resolve));
  await until(() => initiator.seen.readyToTransfers === 1);
  clock.advance(61_000);
  await gone;
  expect(target.counters.get('iscsi.connection.dropped.data-not-sent')).toBe(1);
});

test('a session that cannot be asked for a sign of life is dropped after a long silence', async () => {
  const clock = await withClock({ staleIdleMs: 3_600_000 });
  const initiator = await initiators.attach({ keys: ipxeKeys });
  const gone = new Promise((resolve) => initiator.onClose(resolve));
  clock.advance(3_599_000);
  await initiator.read(0, 1);
  clock.advance(3_599_000);
  await initiator.read(0, 1);
  clock.advance(3_601_000);
  await gone;
  expect(target.counters.get('iscsi.connection.dropped.stale')).toBe(1);
});

test('an operating system ends the session of the iPXE that started it, and no other', async () => {
  target = await startTarget();
  const ipxe = await initiators.attach({ isid: '800000000001', keys: ipxeKeys });
  const left = new Promise((resolve) => ipxe.onClose(resolve));
  await initiators.attach({ isid: '400000000001' });
  await left;
  // Two paths of one operating system live side by side.
  await initiators.attach({ isid: '400000000002' });
  await until(() => target.portal.sessions().length === 2);
});

test('data ahead of a gap in CmdSN is not gathered without end', async () => {
  target = await startTarget();
  const initiator = await initiators.attach();
  const { wire } = initiator.loggedIn;
  const gone = new Promise((resolve) => initiator.onClose(resolve));
  for (let n = 0; n < 6; n++) {
    const header = Buffer.alloc(pdu.HEADER_BYTES);
    const numbers = {
      cmdSN: initiator.nextCmdSN + 1 + n,
      initiatorTaskTag: n,
      targetTransferTag: RESERVED_TAG,
    };
    pdu.nopOut.encode({ opcode: opcode.nopOut, final: true, ...numbers }, header);
    wire.sendWith(header, Buffer.alloc(200_000));
  }
  await gone;
  expect(target.counters.get('iscsi.connection.dropped.data-ahead-of-a-gap')).toBe(1);
});

test('a text request can declare anew how much the initiator takes in one segment', async () => {
  target = await startTarget();
  const initiator = await initiators.attach();
  expect(await initiator.text({ MaxRecvDataSegmentLength: '512' })).toEqual([]);
  const before = initiator.seen.dataIns;
  expect((await initiator.read(0, 8)).length).toBe(4096);
  expect(initiator.seen.dataIns - before).toBe(8);
  expect(await initiator.text({ MaxBurstLength: '512', 'X-com.example': '1' })).toEqual([
    { key: 'MaxBurstLength', value: 'Reject' },
    { key: 'X-com.example', value: 'NotUnderstood' },
  ]);
});
