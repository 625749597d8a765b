import { describe, expect, it } from 'vitest';
import { CLUSTER_EXHIBITS, REPLICATION_EXHIBITS } from '../../sim/museum/exhibits.ts';
import { faultyTexts } from '../../sim/museum/gallery.ts';

describe('each fault of the museum', () => {
  it.each([...CLUSTER_EXHIBITS, ...REPLICATION_EXHIBITS])('still fits: $name', (exhibit) => {
    for (const [file, text] of faultyTexts(exhibit)) expect(text, file).not.toBe('');
  });
});
