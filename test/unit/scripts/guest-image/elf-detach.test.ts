import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { detachLibraries, neededLibraries } from '../../../../scripts/guest-image/elf-detach.ts';

/** A program that is there wherever this runs. */
const program = readFileSync(process.execPath);

describe('a program without libraries that it never calls', () => {
  it('asks for those kept only', () => {
    const needed = neededLibraries(program);
    expect(needed).toContain('libc.so.6');
    const detached = detachLibraries(program, (name) => name === 'libm.so.6');
    const left = new Set(neededLibraries(detached));
    expect(left).toEqual(new Set(needed.filter((name) => name === 'libm.so.6' || name === 'libc.so.6')));
    expect(detached.length).toBe(program.length);
  });

  it('stays as it is, but for when functions are looked up, where everything is kept', () => {
    const detached = detachLibraries(program, () => true);
    expect(neededLibraries(detached)).toEqual(neededLibraries(program));
  });

  it('must be a 64-bit ELF program that is linked dynamically', () => {
    expect(() => neededLibraries(Buffer.from('#!/bin/sh\n'))).toThrow(
      'not a 64-bit little-endian ELF program',
    );
    expect(() => neededLibraries(Buffer.alloc(100))).toThrow('not a 64-bit little-endian ELF program');
  });
});
