import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import { restoredGenesis } from '../../../../cluster/state/restored.ts';
import { versionOf } from '../../../../cluster/state/versions.ts';
import { applyAll, fence, genesisInput, register } from './fixtures.ts';

const speaks = (n: number, stateVersion: number, incarnation = 'a'): Command =>
  ({ ...register(n, incarnation), stateVersion }) as Command;
const groupless = makeGenesis(genesisInput(3, 0));
const remove: Command = { type: 'removeNode', nodeId: 'n3', atMs: 1, by: 'test' };

describe("the configuration's version", () => {
  it('is what all members know, and only rises', () => {
    const two = applyAll(groupless, speaks(1, 3), speaks(2, 2));
    expect(versionOf(two)).toBe(1);
    const three = applyAll(two, speaks(3, 4));
    expect(versionOf(three)).toBe(2);
    expect(versionOf(applyAll(three, speaks(2, 5, 'b')))).toBe(3);
    expect(versionOf(applyAll(three, fence(2, 'a')))).toBe(2);
  });

  it('waits for a member that has said nothing, or registers without one', () => {
    expect(versionOf(applyAll(groupless, speaks(1, 2), speaks(2, 2)))).toBe(1);
    expect(versionOf(applyAll(groupless, speaks(1, 2), speaks(2, 2), register(3, 'a')))).toBe(1);
  });

  it('is raised by the removal of the last node that is older', () => {
    const mixed = applyAll(groupless, speaks(1, 2), speaks(2, 2), speaks(3, 1), fence(3, 'a'));
    expect(versionOf(mixed)).toBe(1);
    expect(versionOf(applyAll(mixed, remove))).toBe(2);
  });

  it('lets an older program go back and forth until then, and register no more after', () => {
    const mixed = applyAll(groupless, speaks(1, 2), speaks(2, 1), speaks(3, 2), speaks(1, 1, 'b'));
    expect(versionOf(mixed)).toBe(1);
    expect(versionOf(applyAll(mixed, speaks(2, 2, 'b')))).toBe(1);
    const raised = applyAll(mixed, speaks(2, 2, 'b'), speaks(1, 2, 'c'));
    expect(versionOf(raised)).toBe(2);
    const outcome = apply(raised, speaks(1, 1, 'd'));
    expect(outcome.state).toBe(raised);
    expect(outcome.result).toMatchObject({
      ok: false,
      error: {
        kind: 'conflict',
        code: 'program-too-old',
        accepted: expect.stringContaining('version 2') as string,
      },
    });
  });

  it('goes with the configuration into a cluster that is made of it', () => {
    const raised = applyAll(groupless, speaks(1, 2), speaks(2, 2), speaks(3, 2));
    expect(versionOf(restoredGenesis(groupless, raised, 1))).toBe(2);
  });
});
