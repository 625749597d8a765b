import { SeededRandom } from '../../../base/random.ts';
import { type BlockDevice, DeviceError } from '../../../storage/block-device.ts';
import { QuietFabric } from './quiet-fabric.ts';

const GROUP = 'g';
const BLOCKS = 8;
const SECTORS_PER_BLOCK = 8;
const BLOCK = Buffer.alloc(SECTORS_PER_BLOCK * 512, 7);
const FOR_EVER_MS = 60_000;
/** As the cluster fences, from when a node falls silent. */
const FENCED_AFTER_MS = 900;
/** Until whoever follows has waited for the lease, and serves. */
const TAKEOVER_MS = 3_000;
const RETRY_MS = 20;

/** What holds reads up, at a primary that nobody hears any more. */
export interface LateReads {
  /** What each read takes. */
  readonly slowReadMs: number;
  /** Its process stands still besides, from when it is cut off; 0: it does not. */
  readonly pauseMs: number;
  readonly readers: number;
}

export interface LateReadsResult {
  readonly late: LateReads;
  readonly violation: string | undefined;
  /** Reads that were begun within the lease, and refused when another node served. */
  readonly refused: number;
}

function lateReadsOf(seed: number): LateReads {
  const random = new SeededRandom(seed);
  const isSlow = random.below(2) === 0;
  return {
    slowReadMs: isSlow ? 200 + random.below(2_800) : 1 + random.below(100),
    pauseMs: isSlow && random.below(2) === 0 ? 0 : 100 + random.below(3_900),
    readers: 1 + random.below(6),
  };
}

/** Reads at n1 all the while, and looks whether somebody else serves whenever it is answered. */
class Reader {
  good = 0;
  refused = 0;
  violation: string | undefined;
  readonly #fabric: QuietFabric;
  readonly #device: BlockDevice;
  readonly #block: number;

  constructor(fabric: QuietFabric, device: BlockDevice, block: number) {
    this.#fabric = fabric;
    this.#device = device;
    this.#block = block;
    this.#turn();
  }

  #turn(): void {
    const { world } = this.#fabric;
    this.#fabric.process('n1').enterAfter(RETRY_MS, () => {
      const beganMs = world.nowMs;
      this.#device.read(this.#block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK).then(
        () => {
          this.good++;
          if (this.#isServedElsewhere())
            this.violation ??= `a read begun at ${beganMs} ms is answered at ${world.nowMs} ms, when n2 serves`;
          this.#turn();
        },
        (error: unknown) => {
          if (!(error instanceof DeviceError)) throw error;
          if (this.#isServedElsewhere()) this.refused++;
          else this.#turn();
        },
      );
    });
  }

  #isServedElsewhere(): boolean {
    return this.#fabric.group(GROUP, 'n2').isServing();
  }
}

/**
 * A primary is cut off, and another member follows it, while reads are under way that its disk or its own pause holds up. None
 * of them is answered once the other one serves: its lease is asked for when a read is done, not only when it begins.
 */
export async function runLateReads(seed: number): Promise<LateReadsResult> {
  const late = lateReadsOf(seed);
  const fabric = new QuietFabric([GROUP], { msPerMib: 0, seed });
  await fabric.serve([{ group: GROUP, lunId: 1 }]);
  const device = fabric.group(GROUP).openDevice(1);
  if (device === undefined) throw new Error('n1 does not serve');
  for (let block = 0; block < BLOCKS; block++)
    void device.write(block * SECTORS_PER_BLOCK, [BLOCK], { forceUnitAccess: false });
  await fabric.run(200);
  fabric.disk('n1', GROUP).slowReadMs = late.slowReadMs;
  const readers = Array.from({ length: late.readers }, (_, i) => new Reader(fabric, device, i));
  await fabric.run(late.slowReadMs + 100 + new SeededRandom(seed).below(100));
  for (const other of ['n2', 'n3']) fabric.network.cut('n1', other, FOR_EVER_MS);
  fabric.untold.add('n1');
  if (late.pauseMs > 0) fabric.pause('n1', late.pauseMs);
  await fabric.run(FENCED_AFTER_MS);
  fabric.setInSync(GROUP, ['n2', 'n3']);
  await fabric.run(TAKEOVER_MS);
  const isFollowed = fabric.group(GROUP, 'n2').isServing();
  await fabric.run(TAKEOVER_MS);
  const violation =
    readers.find((reader) => reader.violation !== undefined)?.violation ??
    (isFollowed ? undefined : 'nobody follows') ??
    (readers.every((reader) => reader.good > 0) ? undefined : 'a read is not answered at first');
  return { late, violation, refused: readers.reduce((sum, reader) => sum + reader.refused, 0) };
}
