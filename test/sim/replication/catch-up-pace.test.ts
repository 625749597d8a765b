import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../storage/block-device.ts';
import { QuietFabric } from './quiet-fabric.ts';

const TIMEOUT_MS = 120_000;
const MIB = 1024 * 1024;
const LIMIT = MIB;
const SMALL = Buffer.alloc(4096, 2);
/** Of which the last 1,024 are sent as fast as can be. */
const RECORDS = 2_600;
const GROUPS = ['g', 'h', 'i'];
const AWAY_MS = 30_000;

describe('a node that leads several groups', { timeout: TIMEOUT_MS }, () => {
  it('sends a node that comes back what it may for all of them together, and each comes to its end', async () => {
    const fabric = new QuietFabric(GROUPS, { msPerMib: 1, letsIn: true, catchUpBytesPerSecond: LIMIT });
    await fabric.serve(GROUPS.map((group) => ({ group, lunId: 1 })));
    for (const other of ['n1', 'n2']) fabric.network.cut(other, 'n3', AWAY_MS);
    const writers = GROUPS.map((group) => {
      const device = fabric.group(group).openDevice(1) as BlockDevice;
      return Array.from({ length: 16 }, (_, i) =>
        fabric.repeat(() => device.write(8 * (i + 1), [SMALL], { forceUnitAccess: false })),
      );
    });
    const isWritten = (): boolean =>
      writers.every((group) => group.reduce((sum, { tookMs }) => sum + tookMs.length, 0) >= RECORDS);
    for (let i = 0; i < 1_000 && !isWritten(); i++) await fabric.run(50);
    expect(isWritten()).toBe(true);
    for (const writer of writers.flat()) writer.stop();
    await fabric.run(500);
    for (const group of GROUPS) expect(fabric.inSync(group)).toEqual(['n1', 'n2']);
    const before = fabric.sentBytesTo('n3');
    for (let i = 0; i < 4_000 && fabric.sentBytesTo('n3') === before; i++) await fabric.run(50);
    await fabric.run(4_000);
    const sent = fabric.sentBytesTo('n3') - before;
    // Each may have sent a message of a MiB, which it is made to wait for afterwards.
    expect(sent).toBeLessThan((4.5 + GROUPS.length) * LIMIT);
    expect(sent).toBeGreaterThan(3 * LIMIT);
    const isBack = (): boolean => GROUPS.every((group) => fabric.inSync(group).includes('n3'));
    for (let i = 0; i < 60 && !isBack(); i++) await fabric.run(1_000);
    expect(isBack()).toBe(true);
  });
});
