import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { supervise } from '../../../../api/cli/supervise.ts';
import { EXIT_CODE } from '../../../../base/exit-code.ts';

/** Each run lasts as long and ends as said; the last one must be one that is not started again. */
async function play(runs: readonly { code: number; lastsMs?: number }[]) {
  let nowMs = 0;
  const pauses: number[] = [];
  const left = [...runs];
  const code = await supervise({
    run: async () => {
      const next = left.shift();
      if (next === undefined) throw new Error('started once too often');
      nowMs += next.lastsMs ?? 0;
      return next.code;
    },
    nowMs: () => nowMs,
    wait: async (ms) => {
      pauses.push(ms);
      nowMs += ms;
    },
    say: () => {},
  });
  return { code, pauses, notStarted: left.length };
}

describe('a supervised node', () => {
  it.each([0, 1, 2, 70, 76, 130, 143])('stays down after %i', async (code) => {
    expect(await play([{ code }, { code: 0 }])).toEqual({ code, pauses: [], notStarted: 1 });
  });

  it.each([71, 75, 137, 139])('is started again after %i', async (code) => {
    expect(await play([{ code }, { code: 0 }])).toEqual({ code: 0, pauses: [500], notStarted: 0 });
  });

  it('that keeps crashing is given longer and longer, until it has been well for a while', async () => {
    const crash = { code: 71 };
    const { pauses } = await play([crash, crash, crash, { code: 71, lastsMs: 60_000 }, { code: 0 }]);
    expect(pauses).toEqual([500, 1000, 2000, 500]);
    const { pauses: many } = await play([...Array.from({ length: 10 }, () => crash), { code: 0 }]);
    expect(Math.max(...many)).toBe(30_000);
  });

  it('that stays down is not started by systemd either, with the unit of the README', async () => {
    const unit = readFileSync('README.md', 'utf8');
    const kept = /^RestartPreventExitStatus=(.*)$/m.exec(unit)?.[1]?.split(' ').map(Number);
    const staysDown: number[] = [];
    for (const code of Object.values(EXIT_CODE)) {
      const { notStarted } = await play([{ code }, { code: 0 }]);
      // What ended well is none that Restart=on-failure starts.
      if (notStarted === 1 && code !== EXIT_CODE.stopped) staysDown.push(code);
    }
    expect(kept).toEqual(staysDown);
  });
});
