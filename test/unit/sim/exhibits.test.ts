import { describe, expect, it } from 'vitest';
import { faultyTexts } from '../../sim/museum/gallery.ts';
import { HALLS } from '../../sim/museum/halls.ts';

describe('each fault of the museum', () => {
  const all = HALLS.flatMap(({ exhibits }) => exhibits);
  it.each(all)('still fits: $name', (exhibit) => {
    for (const [file, text] of faultyTexts(exhibit)) expect(text, file).not.toBe('');
  });
});
