import { differenceBetween } from './disk-content.ts';
import { GROUP, LesserCopy } from './lesser-copy.ts';

const NODES = ['n1', 'n2', 'n3'];

/** n3 was away while everything was written over, n2 left after a part of that, and n1 ends while it fills n3. */
export async function halfFilled(seed: number, trims = false): Promise<LesserCopy> {
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
  if (fabric.authority.group.primary !== undefined) throw new Error('somebody leads without the last copy');
  if (fabric.holes('n3') === 0) throw new Error('n3 has been sent everything');
  return fabric;
}

/** An administrator has the group go on from there. @returns how copies differ once all are in sync */
export async function differenceFrom(fabric: LesserCopy, nodeId: string): Promise<string | undefined> {
  fabric.authority.startFrom(nodeId);
  await fabric.serving(nodeId);
  for (const other of NODES) if (!fabric.isRunning(other)) fabric.start(other);
  await fabric.inSync(NODES);
  await fabric.run(500);
  return differenceBetween(fabric.disks(), GROUP);
}

/**
 * A group goes on from a copy that lacks what was acknowledged, and the others, which are from before that loss, come back: by
 * turns from the copy that left, and from the one with holes.
 */
export async function runLesserCopies(seed: number): Promise<{ readonly violation: string | undefined }> {
  const fabric = await halfFilled(seed);
  return { violation: await differenceFrom(fabric, seed % 2 === 1 ? 'n2' : 'n3') };
}
