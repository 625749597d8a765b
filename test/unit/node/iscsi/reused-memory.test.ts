import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Slab } from '../../../../base/slab-memory.ts';
import { DataMemory, ReadLoan } from '../../../../node/iscsi/data-memory.ts';
import { WriteTransfer } from '../../../../node/iscsi/data-out.ts';
import { Framer } from '../../../../node/iscsi/framer.ts';
import { connectInitiator, type Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { ScsiStatusError } from '../../../../scripts/simulator/scsi-exchange.ts';
import { type BlockDevice, LOGICAL_BLOCK_BYTES, type ReadMemory } from '../../../../storage/block-device.ts';
import { type FileSystem, nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { RecordMemory } from '../../../../storage/lun/record-memory.ts';
import { LoneGroup } from '../../storage/replication/lone-group.ts';
import { MemoryDevice } from './memory-device.ts';
import { slowFileSystem } from './slow-disk.ts';
import { grant, INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/**
 * What is read from sockets lands in memory that all connections share, and records are built in memory that is used
 * again. These tests write blocks that say which they are, from several initiators at once and over a log that is
 * slow to look at what it was given, and count the blocks that are not there afterwards; then they do it again with
 * a copy left out, or with memory given away too early, and must count some.
 */
const AREA_BLOCKS = 4000;
const ROUNDS = 2;
/** Read at once when looking; where one cannot be read, all of them count as damaged. */
const LOOK_BLOCKS = 40;
const MANNERS: readonly Record<string, string>[] = [
  // Whole writes as immediate data.
  {},
  // Unsolicited Data-Out in pieces, then what R2T asks for.
  { MaxRecvDataSegmentLength: '8192', FirstBurstLength: '65536' },
  // Everything by R2T, in short bursts.
  { ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '16384' },
];
/** In blocks of 512 bytes: whole stored blocks, and parts of them; one PDU, and several. */
const SIZES = [8, 128, 3, 700, 8, 16, 1021, 8];
/** Without parts of stored blocks, which would be read before they are written. */
const WHOLE_SIZES = [8, 128, 16, 704, 8];

/** Read at once in one go, of more than a socket takes. */
const WANTED_READS = 256;
const WANTED_BLOCKS = 128;

let directory: string;
let lone: LoneGroup | undefined;
let target: TestTarget;
const initiators: Initiator[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'memory-'));
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const initiator of initiators.splice(0)) initiator.destroy();
  await target.portal.close();
  await lone?.stop();
  lone = undefined;
  await rm(directory, { recursive: true });
});

async function start(fileSystem: FileSystem): Promise<void> {
  lone = new LoneGroup({ directory, fileSystem, segmentSizeBytes: 64 * 1_048_576 });
  const group = await lone.serving();
  const lengthBlocks = MANNERS.length * AREA_BLOCKS;
  await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks });
  target = await startTarget();
  target.decide = async () => grant(new Map([[0, group.openDevice(1) as BlockDevice]]));
}

async function attach(number: number): Promise<Initiator> {
  const { host, port } = target;
  const isid = `40000000000${number}`;
  const keys = MANNERS[number] as Record<string, string>;
  const names = { initiatorName: INITIATOR, targetName: TARGET };
  const initiator = await connectInitiator({ host, port, ...names, isid, keys, queueDepth: 16 });
  initiators.push(initiator);
  return initiator;
}

/** Each block says where it belongs, in every word of it, and when it was written. */
function stamped(lba: number, blocks: number, round: number): Uint8Array {
  const words = new Uint32Array(blocks * 128);
  for (let i = 0; i < words.length; i++) words[i] = ((lba + (i >> 7)) << 8) | round;
  return new Uint8Array(words.buffer);
}

/** Writes all of one area, in pieces that are all under way at once. */
async function fill(
  initiator: Initiator,
  number: number,
  round: number,
  sizes: readonly number[],
): Promise<void> {
  const writes: Promise<void>[] = [];
  const end = (number + 1) * AREA_BLOCKS;
  for (let lba = number * AREA_BLOCKS, i = round; lba < end; i++) {
    const blocks = Math.min(sizes[i % sizes.length] as number, end - lba);
    // One that is refused has not come to be what it should be either, and is counted when it is read.
    writes.push(initiator.write(lba, stamped(lba, blocks, round)).catch(unlessRefused));
    lba += blocks;
  }
  await Promise.all(writes);
}

function unlessRefused(error: unknown): void {
  if (!(error instanceof ScsiStatusError)) throw error;
}

/** Blocks that were acknowledged and are another content now, or that nobody can read. */
async function damagedBlocks(sizes = SIZES): Promise<number> {
  const all = await Promise.all(MANNERS.map((_, number) => attach(number)));
  let damaged = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    await Promise.all(all.map((initiator, number) => fill(initiator, number, round, sizes)));
  }
  const [reader] = all as [Initiator];
  // One place that is damaged is enough, and looking elsewhere for what is damaged takes its time.
  for (let lba = 0; lba < MANNERS.length * AREA_BLOCKS && damaged === 0; lba += LOOK_BLOCKS) {
    const wanted = stamped(lba, LOOK_BLOCKS, ROUNDS);
    const found = await reader.read(lba, LOOK_BLOCKS).catch(() => new Uint8Array(wanted.length));
    for (let at = 0; at < wanted.length; at += 512) {
      if (Buffer.compare(found.subarray(at, at + 512), wanted.subarray(at, at + 512)) !== 0) damaged++;
    }
  }
  return damaged;
}

/** What it reads it copies into the memory that it is lent. */
class CopyingDevice extends MemoryDevice {
  readNow(lba: number, lengthBlocks: number, memory: ReadMemory): readonly Uint8Array[] {
    const at = lba * LOGICAL_BLOCK_BYTES;
    const copy = memory.take(lengthBlocks * LOGICAL_BLOCK_BYTES);
    copy.set(this.bytes.subarray(at, at + copy.length));
    return [copy];
  }
}

/** Reads that were answered with what is not there, of many whose answers wait for the initiator. */
async function wrongAnswers(): Promise<number> {
  const device = new CopyingDevice(WANTED_READS * WANTED_BLOCKS);
  device.bytes.set(stamped(0, device.lengthBlocks, 1));
  target = await startTarget();
  target.decide = async () => grant(new Map([[0, device]]));
  const initiator = await attach(0);
  let wrong = 0;
  const reads = Array.from({ length: ROUNDS * WANTED_READS }, async (_, i) => {
    const lba = (i % WANTED_READS) * WANTED_BLOCKS;
    const found = await initiator.read(lba, WANTED_BLOCKS);
    if (Buffer.compare(found, stamped(lba, WANTED_BLOCKS, 1)) !== 0) wrong++;
  });
  await Promise.all(reads);
  return wrong;
}

describe('memory that is used again', { timeout: 120_000 }, () => {
  test('costs no block, where the log looks at its records late', async () => {
    await start(slowFileSystem);
    expect(await damagedBlocks()).toBe(0);
  });

  test('costs no block, where records are appended at once', async () => {
    await start(nodeFileSystem);
    expect(await damagedBlocks()).toBe(0);
  });

  test('would, were data of a write that has come in part not copied', async () => {
    vi.spyOn(WriteTransfer.prototype, 'keep').mockImplementation(() => {});
    await start(slowFileSystem);
    expect(await damagedBlocks()).toBeGreaterThan(0);
  });

  test('would, were the memory of such copies given away before the write has been carried out', async () => {
    const copyOf = Reflect.get(DataMemory.prototype, 'copyOf');
    vi.spyOn(DataMemory.prototype, 'copyOf').mockImplementation(function (this: DataMemory, bytes) {
      const copy = copyOf.call(this, bytes);
      this.giveBack([copy]);
      return copy;
    });
    await start(slowFileSystem);
    // So were the rests of PDUs, whose headers then end the connection.
    const damaged = await damagedBlocks().catch(() => 'the connection is lost');
    expect(damaged).not.toBe(0);
  });

  test('would, were memory of records given away before they are in the log', async () => {
    const reserve = Reflect.get(RecordMemory.prototype, 'reserve');
    let last: Slab | undefined;
    vi.spyOn(RecordMemory.prototype, 'reserve').mockImplementation(function (
      this: RecordMemory,
      lengthBytes,
    ) {
      if (last !== undefined) last.usedBytes = 0;
      last = reserve.call(this, lengthBytes);
      return last;
    });
    await start(slowFileSystem);
    expect(await damagedBlocks(WHOLE_SIZES)).toBeGreaterThan(0);
  });

  test('would, were the rest of what a socket gave not copied', async () => {
    vi.spyOn(Framer.prototype, 'keepRest').mockImplementation(() => {});
    await start(slowFileSystem);
    // A PDU whose header is overwritten ends the connection; one whose data is, is written.
    const damaged = await damagedBlocks().catch(() => 'the connection is lost');
    expect(damaged).not.toBe(0);
  });

  test('costs no answer, where answers wait for their initiator', async () => {
    const giveBack = vi.spyOn(DataMemory.prototype, 'giveBack');
    expect(await wrongAnswers()).toBe(0);
    expect(giveBack).toHaveBeenCalledTimes(ROUNDS * WANTED_READS);
  });

  test('would, were what a read was lent given away before its answer has left', async () => {
    const take = Reflect.get(ReadLoan.prototype, 'take');
    const end = Reflect.get(ReadLoan.prototype, 'end');
    vi.spyOn(ReadLoan.prototype, 'take').mockImplementation(function (this: ReadLoan, lengthBytes) {
      const taken = take.call(this, lengthBytes);
      end.call(this)?.();
      return taken;
    });
    expect(await wrongAnswers()).toBeGreaterThan(0);
  });
});
