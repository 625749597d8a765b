import { SeededRandom } from '../../../base/random.ts';
import { DeviceError } from '../../../storage/block-device.ts';
import {
  OWN_DISK_STALL_MS,
  OWN_EPOCH_STALL_MS,
  PROPOSAL_RETRY_MS,
  SLOW_MS,
  SLOW_SYNC_MS,
  TICK_MS,
} from '../../../storage/replication/limits.ts';
import { QuietFabric } from './quiet-fabric.ts';

const GROUP = 'g';
const BLOCK_BYTES = 512;
const RETRY_MS = 20;
/** A takeover that has to wait for the lease. */
const TAKEOVER_MS = 1_500;
/** However its disk hangs, clients are answered again within this, where the other members are well. */
const GOES_ON_WITHIN_MS =
  OWN_DISK_STALL_MS + Math.max(SLOW_MS, SLOW_SYNC_MS) + PROPOSAL_RETRY_MS + TAKEOVER_MS + 4 * TICK_MS;
/** One that had nothing to make durable shows only once it leads that it hangs too, and hands over in turn. */
const ONCE_MORE_MS = OWN_EPOCH_STALL_MS + TAKEOVER_MS;
const FOR_EVER_MS = 30_000;
const MEMBERS = ['n1', 'n2', 'n3'];

/** What hangs, and for whom. */
export interface HungPrimary {
  /** The log alone, or the small files of the group as well. */
  readonly what: 'log' | 'all';
  readonly forMs: number;
  /** The primary, one of its two backups as well, or all of them: what they share has failed. */
  readonly who: readonly string[];
  readonly writers: number;
  /** Writes are flushed. */
  readonly flushes: boolean;
}

export interface HungPrimaryResult {
  readonly hung: HungPrimary;
  readonly violation: string | undefined;
  readonly handedOver: number;
}

function hungPrimaryOf(seed: number): HungPrimary {
  const random = new SeededRandom(seed);
  return {
    what: random.below(2) === 0 ? 'log' : 'all',
    forMs: random.below(3) === 0 ? FOR_EVER_MS : 500 + random.below(9_500),
    who: MEMBERS.slice(0, Math.max(1, random.below(5) - 1)),
    writers: 1 + random.below(8),
    flushes: random.below(2) === 0,
  };
}

/** Clients write all the while, whoever leads: each to a block of its own, the next number once one is acknowledged. */
class Writer {
  acknowledged = 0;
  tried = 0;
  longestMs = 0;
  readonly #fabric: QuietFabric;
  readonly #block: number;
  readonly #flushes: boolean;
  #sinceMs: number;

  constructor(fabric: QuietFabric, block: number, flushes: boolean) {
    this.#fabric = fabric;
    this.#block = block;
    this.#flushes = flushes;
    this.#sinceMs = fabric.world.nowMs;
    this.#turn();
  }

  waitsMs(): number {
    return Math.max(this.longestMs, this.#fabric.world.nowMs - this.#sinceMs);
  }

  /** @returns what is wrong with what is there in the end */
  async check(): Promise<string | undefined> {
    const { acknowledged } = this;
    const device = this.#fabric.group(GROUP, this.#fabric.primary(GROUP)).openDevice(1);
    const read = device === undefined ? [] : await device.read(this.#block, 1);
    const found = (read instanceof Uint8Array ? Buffer.from(read) : Buffer.concat(read)).readUInt32LE();
    const isThere = found >= acknowledged && found <= this.tried;
    return isThere ? undefined : `block ${this.#block} has ${found}, ${acknowledged} was acknowledged`;
  }

  #turn(): void {
    const nodeId = this.#fabric.primary(GROUP);
    const again = (): void => this.#fabric.world.after(RETRY_MS, () => this.#turn());
    this.#fabric.process(nodeId).enterAfter(0, () => {
      const device = this.#fabric.group(GROUP, nodeId).openDevice(1);
      if (device === undefined) return again();
      const value = ++this.tried;
      const data = Buffer.alloc(BLOCK_BYTES, Buffer.from(Uint32Array.of(value).buffer));
      device.write(this.#block, [data], { forceUnitAccess: this.#flushes }).then(
        () => {
          this.acknowledged = value;
          this.longestMs = this.waitsMs();
          this.#sinceMs = this.#fabric.world.nowMs;
          again();
        },
        (error: unknown) => {
          if (!(error instanceof DeviceError)) throw error;
          again();
        },
      );
    });
  }
}

/** The disk of a primary takes nothing for a while, or for good: another member leads before long, and nothing is lost. */
export async function runHungPrimary(seed: number): Promise<HungPrimaryResult> {
  const hung = hungPrimaryOf(seed);
  const fabric = new QuietFabric([GROUP], { msPerMib: 0, seed, letsIn: true });
  await fabric.serve([{ group: GROUP, lunId: 1 }]);
  const writers = Array.from({ length: hung.writers }, (_, i) => new Writer(fabric, i, hung.flushes));
  await fabric.run(1_000);
  const hang = (isHung: boolean): void => {
    for (const nodeId of hung.who) {
      fabric.disk(nodeId, GROUP).isHung = isHung;
      if (hung.what === 'all') fabric.metaDisk(nodeId).isHung = isHung;
    }
  };
  hang(true);
  await fabric.run(hung.forMs);
  hang(false);
  await fabric.run(15_000);
  const longestMs = Math.max(...writers.map((writer) => writer.waitsMs()));
  const checks = Promise.all(writers.map((writer) => writer.check()));
  const found: { list?: readonly (string | undefined)[] } = {};
  void checks.then((list) => {
    found.list = list;
  });
  await fabric.run(500);
  const handedOver = fabric.count('replication.handed-over');
  const lost = found.list === undefined ? 'nothing can be read in the end' : found.list.find((what) => what);
  const violation = lost ?? wrongWith(hung, longestMs, handedOver) ?? whoIsMissing(fabric.inSync(GROUP));
  return { hung, violation, handedOver };
}

function wrongWith(hung: HungPrimary, longestMs: number, handedOver: number): string | undefined {
  const { who, forMs, flushes } = hung;
  const needlessly = `handed over ${handedOver} times, which helps nobody`;
  if (forMs < OWN_DISK_STALL_MS && handedOver > 0) return needlessly;
  // Of others that owe nothing nobody can tell that they hang.
  if (isEverybody(who) && !flushes && handedOver > 0) return needlessly;
  const withinMs = isEverybody(who)
    ? forMs + GOES_ON_WITHIN_MS
    : GOES_ON_WITHIN_MS + (who.length - 1) * ONCE_MORE_MS;
  return longestMs > withinMs ? `a write takes ${longestMs} ms` : undefined;
}

function isEverybody(who: readonly string[]): boolean {
  return who.length === MEMBERS.length;
}

function whoIsMissing(inSync: readonly string[]): string | undefined {
  return inSync.length < MEMBERS.length ? `in the end ${inSync.join(', ')} are in sync` : undefined;
}
