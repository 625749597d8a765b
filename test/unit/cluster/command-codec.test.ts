import { describe, expect, it } from 'vitest';
import { decodeCommand, encodeCommand } from '../../../cluster/command-codec.ts';
import { pack } from '../../../cluster/msgpack.ts';
import { apply } from '../../../cluster/state/apply.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { STATE_VERSIONS, type StateVersions } from '../../../cluster/state/versions.ts';
import { genesisInput } from './state/fixtures.ts';

const remove: Command = { type: 'removeClient', name: 'pc1' };
const settle: Command = { type: 'settleClientChap', name: 'pc1' };
const older = STATE_VERSIONS;
/** A program in which `settleClientChap` came with the next version. */
const newer: StateVersions = {
  newest: older.newest + 1,
  neededBy: ({ type }) => (type === 'settleClientChap' ? older.newest + 1 : older.newest),
};
const unknown = { type: 'undecodable' };

describe('a command in the log', () => {
  it('comes back as it was, with or without a version before it', () => {
    expect(decodeCommand(encodeCommand(remove, older), older)).toEqual(remove);
    expect(decodeCommand(encodeCommand(settle, newer), newer)).toEqual(settle);
    expect(decodeCommand(pack(remove), older)).toEqual(remove);
  });

  it('of a newer version is not passed over, whatever it is', () => {
    const error = expect.objectContaining({ code: 'newer-state', got: newer.newest }) as Error;
    expect(() => decodeCommand(encodeCommand(settle, newer), older)).toThrow(error);
    expect(() => decodeCommand(pack([newer.newest, { type: 'new' }]), older)).toThrow(error);
    expect(() => decodeCommand(pack([newer.newest, remove]), older)).toThrow(error);
  });

  it('that is newer than the version it names is none, so that older and newer programs refuse it alike', () => {
    expect(decodeCommand(pack([older.newest, settle]), newer)).toEqual(unknown);
  });

  it.each([
    ['nothing', new Uint8Array()],
    ['no MessagePack', Uint8Array.of(0xc1)],
    ['a number', pack(7)],
    ['a version alone', pack([9])],
    ['a version that is none', pack(['9', remove])],
    ['more than a version and a command', pack([9, remove, 1])],
    ['a version and no command', pack([1, 'x'])],
    ['null', pack(null)],
  ])('that is %s is refused alike by every program', (_what, bytes) => {
    const state = makeGenesis(genesisInput(3, 1));
    for (const versions of [older, newer]) {
      const outcome = apply(state, decodeCommand(bytes, versions));
      expect(outcome.state).toBe(state);
      expect(outcome.result).toMatchObject({ ok: false, error: { code: 'unknown-command' } });
    }
  });
});
