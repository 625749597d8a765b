import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../../storage/lun/index-checkpoint.ts';
import { LunTable } from '../../../../storage/lun/lun-table.ts';
import { CheckpointLife, type LifeOptions } from './checkpoint-life.ts';

const SEEDS = 40;
const STEPS = 60;

async function live(options: Omit<LifeOptions, 'seed' | 'steps'>, until: 'end' | 'difference') {
  const totals = new CounterSet();
  const differences: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { difference, counts } = await new CheckpointLife({ ...options, seed, steps: STEPS }).run();
    if (difference !== undefined) differences.push(`seed ${seed}: ${difference}`);
    for (const [name, value] of Object.entries(counts.snapshot())) totals.add(name, value);
    if (until === 'difference' && differences.length > 0) break;
  }
  return { totals, differences };
}

describe('an index from its checkpoint and the rest of the log', { timeout: 120_000 }, () => {
  it('is the index from the whole log, whatever became of either', async () => {
    const { totals, differences } = await live({}, 'end');
    expect(differences).toEqual([]);
    for (const name of [
      'written',
      'used',
      'ignored',
      'tails',
      'crashes',
      'cuts',
      'trims',
      'resets',
      'carried',
    ]) {
      expect(totals.get(name), name).toBeGreaterThan(SEEDS / 4);
    }
    for (const operation of ['create', 'write', 'syncData', 'rename']) {
      expect(totals.get(`crashes at ${operation} of a checkpoint`), operation).toBeGreaterThan(0);
    }
  });

  it('is refused whole when any bit of it is another, or its end is missing', async () => {
    const table = new LunTable({ open: () => Promise.resolve(undefined) }, () => {});
    table.restart(1, [{ lunId: 1, generation: 1, base: { name: 'i', version: 1 }, lengthBlocks: 80_000 }]);
    const blocks = table.get(1)?.blocks;
    for (let block = 0; block < 3_000; block++) blocks?.set(block * 3, 100 + block * 5_000, block);
    blocks?.discard(10, 50, 99);
    const origin = { groupId: 'g', logId: 'id', index: 1, lastPosition: 7, lastCrc: 8, epochs: [] };
    const sound = Buffer.concat(Array.from(encodeCheckpoint(origin, table.snapshot())).flat());
    const decode = (bytes: Buffer) =>
      decodeCheckpoint((into, offset) => Promise.resolve(bytes.copy(into, 0, offset)));
    expect((await decode(sound)).origin).toEqual(origin);
    // Everything in the head, and places all over the rest.
    const places = Array.from({ length: 300 }, (_, i) => (i < 24 ? i : (i * 7_919) % sound.length));
    for (const at of places) {
      // What follows the mark of the byte order means nothing.
      if (at === 22 || at === 23) continue;
      const damaged = Buffer.from(sound);
      damaged[at] = (damaged[at] as number) ^ 0x10;
      await expect(decode(damaged), `byte ${at}`).rejects.toMatchObject({ code: 'bad-checkpoint' });
    }
    for (const length of [0, 10, 24, 100, sound.length - 1]) {
      await expect(decode(sound.subarray(0, length))).rejects.toMatchObject({ code: 'bad-checkpoint' });
    }
    const longer = Buffer.concat([sound, Buffer.alloc(1)]);
    await expect(decode(longer)).rejects.toMatchObject({ code: 'bad-checkpoint' });
  });

  it('differs where a checkpoint is taken for one of a log that it is not of', async () => {
    expect((await live({ trustsAnyLog: true }, 'difference')).differences).not.toEqual([]);
  });
});
