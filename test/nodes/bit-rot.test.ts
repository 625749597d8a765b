import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { IntegrityDocument } from '../../api/contract/status.ts';
import { IMAGE_BLOCK_BYTES, imageBlock } from '../../scripts/demo/demo-image.ts';
import type { Initiator } from '../../scripts/simulator/iscsi-initiator.ts';
import { clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';

/** Bits turn over on the disks of nodes that run: nobody is given them, and they are mended from other nodes. */

const MAC = '52:54:00:b1:70:01';
const STEP_MS = 120_000;
const PATIENCE_MS = 60_000;
const SECTORS_PER_BLOCK = 8;
/** Of the image, and filled with what the image has there; each in a page of its own. */
const IMAGE_BLOCK = 40;
const OTHER_IMAGE_BLOCK = 8;
const WRITTEN_BLOCK = 300;
const FLIPPED_BYTE = 1000;

const shared = clusterForFile('127.200.10');
let machine: Initiator;

const blockOf = (fill: number): Buffer => Buffer.alloc(IMAGE_BLOCK_BYTES, fill);

async function integrityOf(nodeId: string): Promise<IntegrityDocument> {
  return (await shared().status(nodeId)).integrity;
}

async function readBlock(block: number): Promise<Uint8Array> {
  return machine.read(block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK);
}

async function writeBlock(block: number, content: Uint8Array): Promise<void> {
  await machine.write(block * SECTORS_PER_BLOCK, content, { forceUnitAccess: true });
}

/** The file below a node's data directory that holds these bytes, and where. */
async function find(nodeId: string, below: string, bytes: Uint8Array): Promise<{ path: string; at: number }> {
  const folder = join(shared().cluster.nodeDirectory(nodeId), 'data', below);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.tmp')) continue;
    const path = join(entry.parentPath, entry.name);
    const at = (await readFile(path)).indexOf(bytes);
    if (at !== -1) return { path, at };
  }
  throw new Error(`${folder} does not hold it`);
}

/** Turns one bit over. @returns whether all is there again as it was */
async function flip(nodeId: string, below: string, bytes: Uint8Array): Promise<() => Promise<boolean>> {
  const { path, at } = await find(nodeId, below, bytes);
  // No more than the one byte: the node goes on writing to this file.
  const file = await open(path, 'r+');
  try {
    const flipped = Uint8Array.of((bytes[FLIPPED_BYTE] as number) ^ 0x40);
    await file.write(flipped, 0, 1, at + FLIPPED_BYTE);
  } finally {
    await file.close();
  }
  return async () => (await readFile(path)).subarray(at, at + bytes.length).equals(bytes);
}

/** Which node serves the portal group in whose log these bytes are. */
async function servingOf(bytes: Uint8Array): Promise<string> {
  const { path } = await find('n1', 'groups', bytes);
  const { portalGroups } = await shared().status('n1');
  return portalGroups.find(({ id }) => path.includes(`/${id}/`))?.primary ?? '';
}

async function isMendedOf(nodeId: string, before: IntegrityDocument, count: number): Promise<boolean> {
  const { found, mended, leftCount } = await integrityOf(nodeId);
  return found === before.found + count && mended === before.mended + count && leftCount === 0;
}

async function scrub(nodeId: string): Promise<void> {
  const before = await integrityOf(nodeId);
  const document = await shared().cluster.cliJson(['scrub', nodeId]);
  expect(document).toMatchObject({ nodeId, totalBytes: expect.any(Number) });
  await until(
    `what ${nodeId} keeps is read through`,
    async () => {
      const { lastScrubCompletedAt, scrubStartedAt } = await integrityOf(nodeId);
      return scrubStartedAt === null && lastScrubCompletedAt !== before.lastScrubCompletedAt;
    },
    PATIENCE_MS,
  );
}

it('in an image are mended before a machine reads them', { timeout: STEP_MS }, async () => {
  const client = await shared().addClient('pc', MAC);
  const { portalGroups } = await shared().status('n1');
  const node = portalGroups.find((group) => group.id === client.portalGroup)?.primary ?? '';
  const target = await shared().boot(MAC);
  const before = await integrityOf(node);
  const isWhole = await flip(node, 'images', imageBlock(IMAGE_BLOCK));
  machine = await shared().attach(target);
  expect(Buffer.compare(await readBlock(IMAGE_BLOCK), imageBlock(IMAGE_BLOCK))).toBe(0);
  expect(await isWhole()).toBe(true);
  await until('status says so', () => isMendedOf(node, before, 1));
  const log = await shared().log(node);
  for (const event of ['image.damage-found', 'image.damage-mended']) expect(log).toContain(event);
});

it("in a machine's own data are mended while it reads them", { timeout: STEP_MS }, async () => {
  await writeBlock(WRITTEN_BLOCK, blockOf(0x5c));
  const serving = await servingOf(blockOf(0x5c));
  const before = await integrityOf(serving);
  const isWhole = await flip(serving, 'groups', blockOf(0x5c));
  expect(Buffer.compare(await readBlock(WRITTEN_BLOCK), blockOf(0x5c))).toBe(0);
  await until('the file is as it was', isWhole);
  await until('status says so', () => isMendedOf(serving, before, 1));
  const { stdout } = await shared().cluster.cli(['status', '--node', serving]);
  expect(stdout).toContain(`${before.mended + 1} mended`);
  expect(stdout).not.toContain('ALARM');
  const log = await shared().log(serving);
  for (const event of ['replication.damage-found', 'replication.damage-mended']) expect(log).toContain(event);
});

it('where nobody reads are found by a scrub, while a machine reads on', { timeout: STEP_MS }, async () => {
  const pattern = blockOf(0x3e);
  await writeBlock(WRITTEN_BLOCK + 1, pattern);
  const over = new AbortController();
  let reads = 0;
  const reading = (async () => {
    for (; !over.signal.aborted; reads++) {
      expect(Buffer.compare(await readBlock(WRITTEN_BLOCK + 1), pattern)).toBe(0);
      expect(Buffer.compare(await readBlock(IMAGE_BLOCK), imageBlock(IMAGE_BLOCK))).toBe(0);
    }
  })();
  let damagedLogs = 0;
  try {
    for (const nodeId of NODE_IDS) {
      const { portalGroups } = await shared().status(nodeId);
      const { path } = await find(nodeId, 'groups', pattern);
      const group = portalGroups.find(({ id }) => path.includes(`/${id}/`));
      if (group?.role !== 'backup') continue;
      damagedLogs++;
      const before = await integrityOf(nodeId);
      const isLogWhole = await flip(nodeId, 'groups', pattern);
      const isImageWhole = await flip(nodeId, 'images', imageBlock(OTHER_IMAGE_BLOCK));
      // The other copy is sound until this one is mended again.
      await scrub(nodeId);
      await until(`${nodeId} has its log as it was`, isLogWhole);
      expect(await isImageWhole()).toBe(true);
      await until(`${nodeId} says so`, () => isMendedOf(nodeId, before, 2));
    }
  } finally {
    over.abort();
    await reading;
  }
  expect(damagedLogs).toBe(2);
  expect(reads).toBeGreaterThan(0);
});

it('in all copies at once are a medium error there alone, with an alarm', { timeout: STEP_MS }, async () => {
  const { cluster } = shared();
  const pattern = blockOf(0x77);
  await writeBlock(WRITTEN_BLOCK + 2, pattern);
  await writeBlock(WRITTEN_BLOCK + 3, blockOf(0x79));
  const serving = await servingOf(pattern);
  for (const nodeId of NODE_IDS) await flip(nodeId, 'groups', pattern);
  const lba = (WRITTEN_BLOCK + 2) * SECTORS_PER_BLOCK;
  // MEDIUM ERROR, UNRECOVERED READ ERROR.
  await expect(machine.read(lba, 1)).rejects.toThrow('03/11/00');
  expect(Buffer.compare(await readBlock(WRITTEN_BLOCK + 3), blockOf(0x79))).toBe(0);
  await until('an alarm is raised', async () => {
    const { stdout } = await cluster.cli(['status', '--node', serving]);
    return stdout.includes(`ALARM, damaged on ${serving}`);
  });
  expect(await shared().log(serving)).toContain('replication.damage-left');
  // What is written anew is sound.
  await machine.write(lba, blockOf(0x78));
  expect((await machine.read(lba, 1))[0]).toBe(0x78);
  await machine.logout();
});
