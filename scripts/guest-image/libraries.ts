import { cpSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run } from './run.ts';

/** Copies what the dynamic linker loads for a program into /lib and /lib64 of a tree, unpacked libraries first. */
export function copyLibraries(program: string, unpacked: string, tree: string): void {
  // Private libraries of a package (multipath-tools) may lie beside the folder of their architecture.
  const folders = ['lib', 'usr/lib'].flatMap((lib) =>
    ['', ...readdirSync(join(unpacked, lib)).filter((name) => name.endsWith('-linux-gnu'))].map((name) =>
      join(unpacked, lib, name),
    ),
  );
  const lines = run('ldd', [program], { env: { LD_LIBRARY_PATH: folders.join(':') } });
  if (lines.includes('not found')) throw new Error(`${program} lacks a library:\n${lines}`);
  for (const match of lines.matchAll(/(\/\S+) \(0x/g)) {
    const library = match[1] ?? '';
    const isLoader = basename(dirname(library)) === 'lib64';
    cpSync(library, join(tree, isLoader ? 'lib64' : 'lib', basename(library)), { dereference: true });
  }
}
