import { describe, expect, it } from 'vitest';
import { runSlowMember, type SlowMemberResult } from './slow-member.ts';

const SEEDS = 12;
/** A link that carries 2 MB/s, with 12 MB to be written at a time: answers came steadily, and each too late for the lease. */
const LATE_ANSWERS = 69;
/** 32 KB/s: answers come twice a second, each a moment after its lease is over. */
const SPENT_ANSWERS = 700_008;

describe('a member that goes on all the while, slowly', () => {
  it(`keeps no client waiting for long, over ${SEEDS} seeds`, { timeout: 240_000 }, async () => {
    const results: SlowMemberResult[] = [];
    for (let seed = 1; seed <= SEEDS; seed++) results.push(await runSlowMember(seed));
    const failed = results.filter(({ violation }) => violation !== undefined);
    expect(failed).toEqual([]);
    for (const what of ['disk', 'link']) {
      const ofKind = results.filter(({ member }) => member.what === what);
      expect(new Set(ofKind.map(({ isRemoved }) => isRemoved)), what).toEqual(new Set([true, false]));
    }
  });

  it('is put out where its answers are too old for anything to be served', { timeout: 60_000 }, async () => {
    for (const seed of [LATE_ANSWERS, SPENT_ANSWERS]) {
      const { violation, isRemoved, member } = await runSlowMember(seed);
      expect(member.what).toBe('link');
      expect(violation).toBeUndefined();
      expect(isRemoved).toBe(true);
    }
  });
});
