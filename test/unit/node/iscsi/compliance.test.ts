import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const DOCUMENT = join(import.meta.dirname, '../../../../docs/rfc7143.md');

/** Rows "| section | demand | `file` test |" of the compliance tables. */
const rows = readFileSync(DOCUMENT, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (section|---) /.test(line))
  .map((line) => line.split(' | '));

test('the tables were found', () => {
  expect(rows.length).toBeGreaterThan(50);
});

test.each(rows)('%s %s', (section, _demand, shownBy) => {
  expect(section).toMatch(/^\| ([A-Z]|\d+(\.\d+)*)$/);
  const [, file, name] = /^`([a-z0-9-]+\.test\.ts)` (.+) \|$/.exec(shownBy ?? '') ?? [];
  const path = join(import.meta.dirname, file ?? '-');
  expect(existsSync(path), path).toBe(true);
  // As it stands in the source: quoted.
  const quoted = ["'", '"', '`'].map((quote) => `${quote}${name}${quote}`);
  const source = readFileSync(path, 'utf8');
  expect(
    quoted.some((text) => source.includes(text)),
    `${file} has no test "${name}"`,
  ).toBe(true);
});
