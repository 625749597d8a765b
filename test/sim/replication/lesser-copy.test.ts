import { describe, expect, it } from 'vitest';
import { differenceBetween } from './disk-content.ts';
import { GROUP, LesserCopy } from './lesser-copy.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const NODES = ['n1', 'n2', 'n3'];
const TIMEOUT_MS = 120_000;

/** n3 was away while everything was written over, n2 left after a part of that, and n1 ends while it fills n3. */
async function halfFilled(seed: number, trims = false): Promise<LesserCopy> {
  const fabric = new LesserCopy({ seed, trims });
  for (const nodeId of NODES) fabric.start(nodeId);
  await fabric.makeDisk('n1');
  await fabric.inSync(NODES);
  await fabric.write('n1', [1]);
  fabric.end('n3');
  await fabric.inSync(['n1', 'n2']);
  await fabric.write('n1', [2]);
  fabric.end('n2');
  await fabric.inSync(['n1']);
  await fabric.write('n1', [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  fabric.disk('n3').msPerMib = 4_000;
  fabric.start('n3');
  await fabric.until('n3 is sent something', () => fabric.holes('n3') > 0);
  fabric.cutShort('n3');
  fabric.end('n1');
  for (const nodeId of ['n2', 'n3']) fabric.start(nodeId);
  await fabric.run(300);
  expect(fabric.authority.group.primary).toBeUndefined();
  expect(fabric.holes('n3')).toBeGreaterThan(0);
  return fabric;
}

async function convergesFrom(fabric: LesserCopy, nodeId: string): Promise<void> {
  fabric.authority.startFrom(nodeId);
  await fabric.serving(nodeId);
  fabric.start('n1');
  await fabric.inSync(NODES);
  await fabric.run(500);
  expect(differenceBetween(fabric.disks(), GROUP)).toBeUndefined();
}

describe('a group started from a lesser copy', { timeout: TIMEOUT_MS }, () => {
  it.each(SEEDS)('takes no part of a copy that relies on what was given up (seed %i)', async (seed) => {
    const fabric = await halfFilled(seed);
    await convergesFrom(fabric, 'n2');
    expect(await fabric.read('n2', 3)).toBe(2);
  });

  it.each(SEEDS)('is the same on all members where that copy has holes (seed %i)', async (seed) => {
    const fabric = await halfFilled(seed);
    await convergesFrom(fabric, 'n3');
    expect([await fabric.read('n3', 0), await fabric.read('n3', 767)]).toEqual([1, 12]);
  });
});
