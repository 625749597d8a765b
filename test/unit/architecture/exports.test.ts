import { expect, it } from 'vitest';
import { sourceFiles } from './source-files.ts';

const EXPORTED = /^export (?:abstract )?(?:async )?(?:const|let|function\*?|class) (\w+)/gm;

it('is exported only what another file names, so that the compiler sees what is used nowhere', () => {
  const files = sourceFiles().map(({ path, text }) => ({ path, text, words: new Set(text.match(/\w+/g)) }));
  const namedIn = new Map<string, number>();
  for (const { words } of files) for (const word of words) namedIn.set(word, (namedIn.get(word) ?? 0) + 1);
  const textOf = new Map(files.map(({ path, text }) => [path, text]));
  const exported = files.flatMap(({ path, text }) =>
    Array.from(text.matchAll(EXPORTED), ([, name = '']) => ({ path, name })),
  );
  expect(exported.length).toBeGreaterThan(1_000);
  // The test of the SCSI codecs goes through the layouts of its folder by whatever name.
  const isLayout = ({ path, name }: { path: string; name: string }): boolean =>
    path.startsWith('node/scsi/') &&
    new RegExp(`^export const ${name} = layout\\(`, 'm').test(textOf.get(path) ?? '');
  const unused = exported.filter((each) => namedIn.get(each.name) === 1 && !isLayout(each));
  expect(unused.map(({ path, name }) => `${path}: ${name}`)).toEqual([]);
});
