import { writeFile } from 'node:fs/promises';
import type { ClientDocument } from '../../../api/contract/clients.ts';
import { SeededRandom } from '../../../base/random.ts';
import { type DiskEvent, StampedDisk } from '../../../scripts/chaos/stamped-disk.ts';
import { type ClusterFixture, IMAGE_BLOCKS, until } from './cluster-fixture.ts';

const IMAGE = 'blank';
const BLOCK_BYTES = 4096;
/** So that each of them is swept within seconds. */
const BLOCKS = 128;
const LANES = 4;
const STEPS_PER_SECOND = 60;

/** Machines at work on disks of a cluster: all that they were told is held against all that they read. */
export class StampedDisks {
  readonly #fixture: ClusterFixture;
  readonly #disks = new Map<string, StampedDisk>();
  readonly violations: string[] = [];

  constructor(fixture: ClusterFixture) {
    this.#fixture = fixture;
  }

  /** Gives each of the portal groups a client more, and sets it to work. */
  async start(groups: readonly string[], series: number): Promise<void> {
    const file = this.#fixture.path(`blank-${series}.raw`);
    await writeFile(file, new Uint8Array(IMAGE_BLOCKS * BLOCK_BYTES));
    await this.#fixture.insist(['image', 'import', `${IMAGE}-${series}`, file]);
    for (const [i, group] of groups.entries()) {
      const client = series * 16 + i;
      const mac = `52:54:00:5d:${hexPair(series)}:${hexPair(i)}`;
      const added = (await this.#fixture.insist([
        ...['client', 'add', `stamped-${series}-${i}`, '--mac', mac],
        ...['--image', `${IMAGE}-${series}`, '--portal-group', group],
      ])) as ClientDocument;
      const [host = '', port = ''] = added.portal.split(':');
      const { targetName, initiatorName } = added;
      const disk = new StampedDisk(
        { client, host, port: Number(port), targetName, initiatorName, ...this.#load() },
        new SeededRandom(client),
        (event) => this.#heard(event),
      );
      this.#disks.set(group, disk);
      await disk.start();
    }
    await this.more(LANES);
  }

  /** Changes acknowledged so far to the disk of one group. */
  acknowledged(group: string): number {
    return this.#disks.get(group)?.acknowledgedWrites ?? 0;
  }

  /** Waits until each disk has acknowledged so many changes more. @throws Error when one does not in time */
  async more(changes: number, withinMs = 30_000): Promise<void> {
    const goals = [...this.#disks.values()].map((disk) => ({
      disk,
      goal: disk.acknowledgedWrites + changes,
    }));
    await until(
      `${changes} changes more acknowledged of each disk`,
      () => Promise.resolve(goals.every(({ disk, goal }) => disk.acknowledgedWrites >= goal)),
      withinMs,
    );
  }

  /** They stop and read back every block. @returns how many were read at the end, of all disks */
  async finish(): Promise<number> {
    const disks = [...this.#disks.values()];
    this.#disks.clear();
    await Promise.all(disks.map((disk) => disk.finish()));
    return disks.reduce((sum, disk) => sum + disk.checkedAtEnd, 0);
  }

  static blocksOf(disks: number): number {
    return disks * BLOCKS;
  }

  #load() {
    return { blocks: BLOCKS, lanes: LANES, stepsPerSecond: STEPS_PER_SECOND };
  }

  #heard(event: DiskEvent): void {
    if (event.kind === 'violation') this.violations.push(`client ${event.client}, ${event.what}`);
  }
}

function hexPair(n: number): string {
  return n.toString(16).padStart(2, '0');
}
