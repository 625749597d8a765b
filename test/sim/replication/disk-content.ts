import { ProtocolError } from '../../../base/errors.ts';
import { decodeGroupRecord } from '../../../storage/lun/log-record.ts';
import { LunTable } from '../../../storage/lun/lun-table.ts';
import { decodeGroupMeta } from '../../../storage/replication/group-meta.ts';
import type { Disk } from './disk.ts';

const BLOCKS = 64;
const BLOCK_BYTES = 4096;

/** What a disk's log gives, or gave before bits turned over, for each block of each LUN that is not as in its image, records before `untilIndex` taken for committed. */
export function contentOf(disk: Disk, groupId: string, untilIndex = disk.nextIndex): Map<string, string> {
  const content = new Map<string, string>();
  const table = new LunTable({ open: () => Promise.resolve(undefined) }, () => {});
  const meta = disk.meta.get(groupId);
  if (meta === undefined) return content;
  const { baseIndex, luns } = decodeGroupMeta(meta);
  table.restart(baseIndex, luns);
  for (let index = baseIndex; index < untilIndex; index++) {
    const { position } = disk.records[index - disk.firstIndex] as (typeof disk.records)[number];
    table.hold(index, position, decodeGroupRecord(disk.written(index)));
  }
  table.applyHeld(untilIndex);
  for (const { description, blocks } of table.all()) {
    const { lunId, generation, base } = description;
    content.set(`LUN ${lunId}`, `${generation}, version ${base.version}`);
    for (let block = 0; block < BLOCKS; block++) {
      const position = blocks.position(block);
      if (position < 0) content.set(`${lunId}/${block}`, 'given up');
      if (position > 0) content.set(`${lunId}/${block}`, bytesAt(disk, position));
    }
  }
  return content;
}

function bytesAt(disk: Disk, position: number): string {
  const i = disk.records.findLastIndex((candidate) => candidate.position <= position);
  const record = disk.records[i];
  if (record === undefined) throw new Error(`nothing lies at ${position}`);
  const start = position - record.position;
  const payload = disk.written(disk.firstIndex + i);
  return Buffer.from(payload.subarray(start, start + BLOCK_BYTES)).toString('latin1');
}

/** A place at which one log does not give what another one does, as far as both go; undefined if there is none. */
export function lackingOf(disk: Disk, other: Disk, groupId: string): string | undefined {
  return whereReadable(() => placeLacking(disk, other, groupId));
}

/** What was written and makes no sense is a finding, and no reason for looking no further. */
function whereReadable(compare: () => string | undefined): string | undefined {
  try {
    return compare();
  } catch (error) {
    if (error instanceof ProtocolError) return `what can be read: ${error.message}`;
    throw error;
  }
}

function placeLacking(disk: Disk, other: Disk, groupId: string): string | undefined {
  const untilIndex = Math.min(disk.nextIndex, other.nextIndex);
  const has = contentOf(disk, groupId, untilIndex);
  for (const [place, value] of contentOf(other, groupId, untilIndex)) {
    if (has.get(place) !== value) return place;
  }
  return undefined;
}

/** How the logs of members that have all there is differ, in their records or in what these give; undefined if not. */
export function differenceBetween(disks: readonly Disk[], groupId: string): string | undefined {
  return whereReadable(() => placeOfDifference(disks, groupId));
}

function placeOfDifference(disks: readonly Disk[], groupId: string): string | undefined {
  const start = Math.max(...disks.map((disk) => disk.firstIndex));
  const [first, ...others] = disks as [Disk, ...Disk[]];
  const wanted = contentOf(first, groupId);
  for (const disk of others) {
    if (disk.nextIndex !== first.nextIndex) return `logs end at ${first.nextIndex} and ${disk.nextIndex}`;
    for (let index = start; index < first.nextIndex; index++) {
      const [a, b] = [payloadAt(first, index), payloadAt(disk, index)];
      if (!a.equals(b) && !isVoid(a) && !isVoid(b)) return `record ${index} differs`;
    }
    // A member that has less than the others of what counts would show it only as a primary.
    const content = contentOf(disk, groupId);
    if (content.size !== wanted.size) return 'members differ in what they hold';
    for (const [place, value] of wanted) {
      if (content.get(place) !== value) return `members differ at ${place}`;
    }
  }
  return undefined;
}

function payloadAt(disk: Disk, index: number): Buffer {
  return Buffer.from(disk.written(index));
}

function isVoid(payload: Uint8Array): boolean {
  return decodeGroupRecord(payload).kind === 'void';
}
