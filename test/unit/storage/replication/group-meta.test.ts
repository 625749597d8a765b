import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import {
  decodeGroupMeta,
  decodeLuns,
  encodeGroupMeta,
  encodeLuns,
  type GroupMeta,
} from '../../../../storage/replication/group-meta.ts';
import { MetaDirectory } from '../../../../storage/replication/meta-directory.ts';

const meta: GroupMeta = {
  epoch: 4,
  leaseMs: 800,
  baseIndex: 12,
  luns: [{ lunId: 1, generation: 3, base: { name: 'gold', version: 2 }, lengthBlocks: 2048 }],
  lunsIndex: 14,
  epochs: [{ epoch: 2, startIndex: 1 }],
  resetting: false,
};

describe('meta of a group', () => {
  it('reads back, and is refused when any byte is damaged or missing', () => {
    const bytes = Buffer.from(encodeGroupMeta(meta));
    expect(decodeGroupMeta(bytes)).toEqual(meta);
    for (let i = 0; i < bytes.length; i++) {
      expect(() => decodeGroupMeta(bytes.subarray(0, i))).toThrow(ProtocolError);
      const damaged = Buffer.from(bytes);
      damaged[i] = (damaged[i] as number) ^ 0x04;
      expect(() => decodeGroupMeta(damaged)).toThrow(ProtocolError);
    }
  });

  it('carries lists of LUNs, and refuses other things', () => {
    const list = { luns: meta.luns, lunsIndex: 14 };
    expect(decodeLuns(encodeLuns(list))).toEqual(list);
    // As earlier versions sent it: it knows of the reset of its newest generation at least.
    expect(decodeLuns(Buffer.from(JSON.stringify(meta.luns)))).toEqual({ luns: meta.luns, lunsIndex: 4 });
    for (const bad of ['', '{}', '{"luns":[],"lunsIndex":"x"}', '[1]', '[{"lunId":1}]', '[null]']) {
      expect(() => decodeLuns(Buffer.from(bad))).toThrow(ProtocolError);
    }
  });

  it('is kept in a file that is replaced as a whole', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'meta-'));
    try {
      const store = new MetaDirectory(join(directory, 'inner'));
      expect(await store.load('g1')).toBeUndefined();
      await store.save('g1', Buffer.from('one'));
      await store.save('g1', Buffer.from('two'));
      expect(Buffer.from((await store.load('g1')) as Uint8Array).toString()).toBe('two');
      expect(await readdir(join(directory, 'inner'))).toEqual(['g1.meta']);
      await expect(store.save('../evil', Buffer.alloc(0))).rejects.toThrow('file name');
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
