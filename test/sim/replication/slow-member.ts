import { SeededRandom } from '../../../base/random.ts';
import { type BlockDevice, DeviceError } from '../../../storage/block-device.ts';
import {
  ARREARS_MAX_MS,
  PACE_FACTOR,
  PACE_SLOW_MS,
  PROPOSAL_RETRY_MS,
  SLOW_MS,
  TICK_MS,
} from '../../../storage/replication/limits.ts';
import { QuietFabric } from './quiet-fabric.ts';

const GROUP = 'g';
const BACKUP = 'n2';
const BLOCK_BYTES = 512;
/** Disks and links that are as they should be. */
const MS_PER_MIB = 64;
const SLOW_FOR_MS = 12_000;
/** Of that, the end: by then clients no longer go at its pace, unless it is the only one left. */
const AT_LAST_MS = 4_000;
/** Whatever a member does, no client waits for longer. */
const LONGEST_WAIT_MS = ARREARS_MAX_MS + SLOW_MS + PROPOSAL_RETRY_MS + 2 * TICK_MS;

/** How a member is slow, and what clients do. */
export interface SlowMember {
  readonly what: 'disk' | 'link';
  /** Of what it writes, or is sent. */
  readonly bytesPerMs: number;
  readonly luns: number;
  readonly depth: number;
  readonly writeBytes: number;
  /** In sync when it begins to be slow. */
  readonly copies: 2 | 3;
}

export interface SlowMemberResult {
  readonly member: SlowMember;
  readonly violation: string | undefined;
  readonly isRemoved: boolean;
  readonly longestWriteMs: number;
  readonly longestReadMs: number;
  readonly writes: number;
}

/** A member that goes on all the while, at a pace between next to nothing and that of the others. */
function slowMemberOf(seed: number): SlowMember {
  const random = new SeededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T;
  return {
    what: pick(['disk', 'link']),
    // From 4 KiB to 8 MiB a second.
    bytesPerMs: (4096 * 2 ** random.below(12)) / 1000,
    luns: pick([1, 2, 6]),
    depth: pick([1, 4, 32, 128]),
    writeBytes: pick([16_384, 65_536]),
    copies: seed % 4 === 3 ? 2 : 3,
  };
}

/** Clients write as much as they can while one backup is slow: it goes, or they are answered in time all the same. */
export async function runSlowMember(seed: number): Promise<SlowMemberResult> {
  const member = slowMemberOf(seed);
  const fabric = new QuietFabric([GROUP], { msPerMib: MS_PER_MIB, seed });
  const luns = Array.from({ length: member.luns }, (_, i) => ({ group: GROUP, lunId: i + 1 }));
  await fabric.serve(luns);
  const devices = luns.map(({ lunId }) => fabric.group(GROUP).openDevice(lunId) as BlockDevice);
  const data = Buffer.alloc(member.writeBytes, 1);
  const blocks = member.writeBytes / BLOCK_BYTES;
  const writes = devices.flatMap((device) =>
    Array.from(
      { length: member.depth },
      (_, i) => new Load(fabric, () => device.write(i * blocks, [data], { forceUnitAccess: false })),
    ),
  );
  const reads = new Load(fabric, async () => void (await (devices[0] as BlockDevice).read(0, 8)), 5);
  if (member.copies === 2) fabric.setInSync(GROUP, ['n1', BACKUP]);
  await fabric.run(500);
  if (member.what === 'disk') fabric.disk(BACKUP, GROUP).msPerMib = (1024 * 1024) / member.bytesPerMs;
  else fabric.network.throttle('n1', BACKUP, member.bytesPerMs);
  await fabric.run(SLOW_FOR_MS - AT_LAST_MS);
  const count = (): number => writes.reduce((sum, load) => sum + load.done, 0);
  const before = count();
  await fabric.run(AT_LAST_MS);
  const tookMs = (writes.length * AT_LAST_MS) / (count() - before);
  const longestWriteMs = Math.max(...writes.map((load) => load.longestMs()));
  const longestReadMs = reads.longestMs();
  const refused = [...writes, reads].flatMap((load) => load.refusals);
  const isRemoved = !fabric.inSync(GROUP).includes(BACKUP);
  const boundMs = isRemoved || member.copies > 2 ? LONGEST_WAIT_MS : longestBesideMs(member);
  const violation =
    refused.length > 0
      ? `${refused.length} are refused: ${refused[0]}`
      : longestWriteMs > boundMs
        ? `a write takes ${longestWriteMs} ms`
        : longestReadMs > LONGEST_WAIT_MS
          ? `a read takes ${longestReadMs} ms`
          : member.copies > 2 && tookMs > longestAtLastMs(member)
            ? `writes take ${tookMs} ms for ${AT_LAST_MS} ms, at the pace of one of ${member.copies}`
            : member.copies === 2 && fabric.count('replication.put-out-slow') > 0
              ? 'the last redundant copy is given up for speed'
              : undefined;
  return {
    member,
    violation,
    isRemoved,
    longestWriteMs,
    longestReadMs,
    writes: count(),
  };
}

/** The last redundant copy is not given up for speed: what is under way takes as long as its pace has it take, and a part more. */
function longestBesideMs({ luns, depth, writeBytes, bytesPerMs }: SlowMember): number {
  return Math.max(LONGEST_WAIT_MS, (1.25 * luns * depth * writeBytes) / bytesPerMs);
}

/** What a member that is much slower than others may make of what a write takes by itself. */
function longestAtLastMs({ luns, depth, writeBytes }: SlowMember): number {
  // One after the other on the primary and then on the others.
  const byItselfMs = (2 * MS_PER_MIB * luns * depth * writeBytes) / (1024 * 1024);
  return PACE_SLOW_MS + PACE_FACTOR * Math.max(TICK_MS, byItselfMs);
}

/** One who does something again and again, and is told the end of each. */
class Load {
  readonly refusals: string[] = [];
  done = 0;
  readonly #fabric: QuietFabric;
  #longestMs = 0;
  #beganMs = 0;

  constructor(fabric: QuietFabric, work: () => Promise<void>, pauseMs = 0) {
    this.#fabric = fabric;
    fabric.repeat(async () => {
      this.#beganMs = fabric.world.nowMs;
      try {
        await work();
        this.done++;
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error;
        this.refusals.push(
          `after ${fabric.world.nowMs - this.#beganMs} ms, at ${fabric.world.nowMs} ms: ${error.message}`,
        );
      }
      this.#longestMs = this.longestMs();
    }, pauseMs);
  }

  /** What is under way counts as well. */
  longestMs(): number {
    return Math.max(this.#longestMs, this.#fabric.world.nowMs - this.#beganMs);
  }
}
