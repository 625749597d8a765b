import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Exhibit } from '../test/sim/museum/exhibit.ts';
import { Gallery, type Subject } from '../test/sim/museum/gallery.ts';
import { HALLS } from '../test/sim/museum/halls.ts';

const HELP = `Usage: npm run simulate:museum -- [--only TEXT]

Puts each deliberate fault of test/sim/museum into a copy of the sources, runs its simulator (that of the cluster log,
of replication, of shared units, of failing disks, of hung primaries, of late reads, of lesser
copies, of slow members, of a log's lives or of whole nodes) on it from seed 1, and
prints which seed finds it and how.

  --only TEXT  only faults with this in their names
  --help       show this text

Exits with 0 when all are found within the number of seeds stated for each, 1 otherwise.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { only: { type: 'string', default: '' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const shows = (exhibit: Exhibit): boolean => exhibit.name.includes(values.only);
  let missed = 0;
  for (const { subject, exhibits } of HALLS) missed += await show(subject, exhibits.filter(shows));
  return missed === 0 ? 0 : 1;
}

/** @returns how many were not found */
async function show(subject: Subject, exhibits: readonly Exhibit[]): Promise<number> {
  if (exhibits.length === 0) return 0;
  const folder = mkdtempSync(join(tmpdir(), 'bootfabric-museum-'));
  let missed = 0;
  try {
    const gallery = new Gallery(folder, subject);
    for (const exhibit of exhibits) {
      const startedMs = performance.now();
      const { seed, violation = 'NOT FOUND' } = await gallery.visit(exhibit);
      if (seed === undefined) missed++;
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      const how = violation.split('\n')[0]?.slice(0, 160);
      console.log(`| ${exhibit.name} | ${seed ?? '-'} of ${exhibit.seeds} | ${how} | ${seconds} s |`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return missed;
}

process.exitCode = await main();
