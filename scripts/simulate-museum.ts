import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Exhibit } from '../test/sim/museum/exhibit.ts';
import {
  CLUSTER_EXHIBITS,
  DOUBLE_FAILURE_EXHIBITS,
  FABRIC_EXHIBITS,
  FAILING_DISK_EXHIBITS,
  HUNG_PRIMARY_EXHIBITS,
  LATE_READ_EXHIBITS,
  LESSER_COPY_EXHIBITS,
  OLD_COPY_EXHIBITS,
  REPLICATION_EXHIBITS,
  REUSE_EXHIBITS,
  SLOW_MEMBER_EXHIBITS,
  UNIT_EXHIBITS,
} from '../test/sim/museum/exhibits.ts';
import {
  CLUSTER,
  DOUBLE_FAILURES,
  FABRIC,
  FAILING_DISKS,
  Gallery,
  HUNG_PRIMARIES,
  LATE_READS,
  LESSER_COPIES,
  LOG_LIVES,
  OLD_COPIES,
  REPLICATION,
  SLOW_MEMBERS,
  type Subject,
  UNITS,
} from '../test/sim/museum/gallery.ts';

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
  const missed =
    (await show(CLUSTER, CLUSTER_EXHIBITS.filter(shows))) +
    (await show(REPLICATION, REPLICATION_EXHIBITS.filter(shows))) +
    (await show(UNITS, UNIT_EXHIBITS.filter(shows))) +
    (await show(FAILING_DISKS, FAILING_DISK_EXHIBITS.filter(shows))) +
    (await show(HUNG_PRIMARIES, HUNG_PRIMARY_EXHIBITS.filter(shows))) +
    (await show(LATE_READS, LATE_READ_EXHIBITS.filter(shows))) +
    (await show(LESSER_COPIES, LESSER_COPY_EXHIBITS.filter(shows))) +
    (await show(SLOW_MEMBERS, SLOW_MEMBER_EXHIBITS.filter(shows))) +
    (await show(LOG_LIVES, REUSE_EXHIBITS.filter(shows))) +
    (await show(FABRIC, FABRIC_EXHIBITS.filter(shows))) +
    (await show(DOUBLE_FAILURES, DOUBLE_FAILURE_EXHIBITS.filter(shows))) +
    (await show(OLD_COPIES, OLD_COPY_EXHIBITS.filter(shows)));
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
