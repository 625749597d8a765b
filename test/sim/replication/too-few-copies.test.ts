import { describe, expect, it } from 'vitest';
import { type BlockDevice, DeviceError } from '../../../storage/block-device.ts';
import { TOO_FEW_WAIT_MS } from '../../../storage/replication/limits.ts';
import { QuietFabric } from './quiet-fabric.ts';

const BLOCK = Buffer.alloc(4096, 3);

interface Ending {
  readonly endedMs: number;
  readonly error: string | undefined;
}

/** Writes once. @returns its end, once it has one */
function write(fabric: QuietFabric, device: BlockDevice, block: number): { ending: Ending | undefined } {
  const written: { ending: Ending | undefined } = { ending: undefined };
  device.write(block * 8, [BLOCK], { forceUnitAccess: false }).then(
    () => {
      written.ending = { endedMs: fabric.world.nowMs, error: undefined };
    },
    (error: unknown) => {
      const kind = error instanceof DeviceError ? error.kind : String(error);
      written.ending = { endedMs: fabric.world.nowMs, error: kind };
    },
  );
  return written;
}

async function shortGroup(): Promise<{ fabric: QuietFabric; device: BlockDevice }> {
  const fabric = new QuietFabric(['g'], { msPerMib: 0, minInSync: 2 });
  await fabric.serve([{ group: 'g', lunId: 1 }]);
  const device = fabric.group('g').openDevice(1) as BlockDevice;
  fabric.setInSync('g', ['n1']);
  await fabric.run(20);
  return { fabric, device };
}

describe('a group with fewer members in sync than its writes need', () => {
  it('holds a write, and carries it out as soon as there are enough', async () => {
    const { fabric, device } = await shortGroup();
    expect(fabric.group('g').status().areWritesStalled).toBe(true);
    const held = write(fabric, device, 0);
    await fabric.run(TOO_FEW_WAIT_MS / 2);
    expect(held.ending).toBeUndefined();
    fabric.setInSync('g', ['n1', 'n2']);
    await fabric.run(200);
    expect(held.ending).toMatchObject({ error: undefined });
  });

  it('refuses it after a time, so that the initiator tries again, and reads go on all the while', async () => {
    const { fabric, device } = await shortGroup();
    const beganMs = fabric.world.nowMs;
    const refused = write(fabric, device, 0);
    const reads = fabric.repeat(async () => {
      await device.read(0, 8);
    }, 20);
    await fabric.run(TOO_FEW_WAIT_MS + 200);
    expect(refused.ending).toMatchObject({ error: 'too-few-copies' });
    expect((refused.ending?.endedMs ?? 0) - beganMs).toBeGreaterThanOrEqual(TOO_FEW_WAIT_MS);
    expect(Math.max(...reads.tookMs)).toBeLessThan(20);
    // What was refused was never in the log.
    const { commitIndex, nextIndex } = fabric.group('g').status();
    expect(commitIndex).toBe(nextIndex);
    fabric.setInSync('g', ['n1', 'n3']);
    await fabric.run(200);
    const again = write(fabric, device, 0);
    await fabric.run(50);
    expect(again.ending).toMatchObject({ error: undefined });
  });

  it('lets writes go on at once where an administrator asks for less', async () => {
    const { fabric, device } = await shortGroup();
    const held = write(fabric, device, 0);
    await fabric.run(500);
    expect(held.ending).toBeUndefined();
    fabric.setMinInSync('g', 1);
    await fabric.run(200);
    expect(held.ending).toMatchObject({ error: undefined });
  });
});
