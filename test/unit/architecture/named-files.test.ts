import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { filesEnding, ROOT } from './source-files.ts';

/** Pages about what is there now; decisions in docs/adr tell of what was there when they were made. */
const PAGES = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md') && name !== 'CHANGELOG.md'),
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
  ...filesEnding('README.md'),
];
/** Sources and scripts, by name or path; what the compiler makes of them (dist/) need not be there. */
const NAMED = /(?<![\w./*<-])(?!dist\/|Node\.js)((?:[\w.-]+\/)*[\w.-]+\.(?:ts|mts|js|sh))(?![\w*/])/g;
const LINKED = /\]\((?!\w+:)([^)#\s]+)(?:#[^)]*)?\)/g;
const DECISION = /\bdocs\/adr\/(\d{4})/g;

const all = filesEnding('');
const names = new Set(all.map((path) => basename(path)));

function isThere(page: string, named: string): boolean {
  const near = [dirname(page), '.', 'node', 'test', 'scripts', 'storage', 'cluster', 'docs'];
  if (near.some((folder) => existsSync(join(ROOT, folder, named)))) return true;
  // The name alone of a file elsewhere, where the text says where.
  return !named.includes('/') && names.has(named);
}

it('name only files that exist', () => {
  const missing: string[] = [];
  let found = 0;
  for (const page of PAGES) {
    const text = readFileSync(join(ROOT, page), 'utf8');
    for (const [, named = ''] of [...text.matchAll(NAMED), ...text.matchAll(LINKED)]) {
      if (isThere(page, named)) found++;
      else missing.push(`${page}: ${named}`);
    }
  }
  expect(missing).toEqual([]);
  expect(found).toBeGreaterThan(300);
});

it('name only decisions that are written down', () => {
  const decisions = new Set(readdirSync(join(ROOT, 'docs/adr')).map((name) => name.slice(0, 4)));
  const pages = [...PAGES, ...filesEnding('.ts')];
  const missing = pages.flatMap((page) =>
    Array.from(readFileSync(join(ROOT, page), 'utf8').matchAll(DECISION), ([, number = '']) => number)
      .filter((number) => !decisions.has(number))
      .map((number) => `${page}: ${number}`),
  );
  expect(decisions.size).toBeGreaterThan(20);
  expect(missing).toEqual([]);
});
