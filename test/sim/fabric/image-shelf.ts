import { createHash } from 'node:crypto';
import { OperationError } from '../../../base/errors.ts';
import { DeviceError } from '../../../storage/block-device.ts';
import type { ContentFetcher } from '../../../storage/image/content-fetcher.ts';
import { fetchChunk } from '../../../storage/image/image-fetch.ts';
import { ImageManifest } from '../../../storage/image/image-manifest.ts';
import type { ImageSource, OpenImage } from '../../../storage/image/image-source.ts';
import { CACHE_PAGE_BYTES } from '../../../storage/image/limits.ts';
import { PageChecksums } from '../../../storage/image/page-checksums.ts';
import { VerifiedImage } from '../../../storage/image/verified-image.ts';
import type { Network } from '../network.ts';
import { IMAGE_VALUES, SECTOR_BYTES, SECTORS, sectorOf } from '../replication/sectors.ts';
import type { Process, World } from '../world.ts';

const SCRUB_MS = 3_000;
/** Disks of clients are mostly of these. */
const NEWEST_VERSIONS = 8;
const IMAGE_BYTES = SECTORS * SECTOR_BYTES;

export interface ImageShelfOptions {
  readonly world: World;
  readonly network: Network;
  readonly counters: { add(name: string, by?: number): void };
  readonly processes: () => readonly Process[];
  readonly fail: (what: string) => void;
}

interface Version {
  readonly content: Uint8Array;
  readonly manifest: ImageManifest;
}

/**
 * Versions of images on the disks of all nodes, on each of which bits turn over: of one version on one node at a time, so
 * that it can be had from the others. What reads, compares and mends is the product's own; other nodes answer at once or are
 * out of reach.
 */
export class ImageShelf {
  readonly #options: ImageShelfOptions;
  readonly #versions = new Map<number, Version>();
  /** By node and version: what lies there otherwise than it was written. */
  readonly #damaged = new Map<string, Uint8Array>();
  /** By process: reads that failed since nobody was there to ask. */
  readonly #lacking = new Map<Process, number>();

  constructor(options: ImageShelfOptions) {
    this.#options = options;
  }

  /** The images as a process of some node has them. */
  source(process: Process): ImageSource {
    return {
      open: ({ name, version }) => {
        const known = this.#version(version);
        const { manifest } = known;
        // The last one is the one opened last.
        this.#versions.delete(version);
        this.#versions.set(version, known);
        const image = new VerifiedImage(this.#raw(process, version), {
          manifest,
          checksums: PageChecksums.of(manifest),
          what: `image ${name} version ${version}`,
          mend: (chunk) => this.#mend(process, version, chunk),
        });
        this.#scrub(process, image);
        return Promise.resolve(this.#inTime(process, image));
      },
    };
  }

  /** Checksums are computed by threads of the runtime: all of a read is, in this time, one moment. */
  #inTime(process: Process, image: VerifiedImage): OpenImage {
    const { world } = this.#options;
    return {
      sizeBytes: image.sizeBytes,
      read: (offsetBytes, lengthBytes) => {
        const reading = world.outside(image.read(offsetBytes, lengthBytes));
        // Nobody may be left to hear of it.
        reading.catch(() => {});
        return new Promise((resolve, reject) => {
          process.enterAfter(world.between(0, 1), () => void reading.then(resolve, reject));
        });
      },
      close: () => image.close(),
    };
  }

  #version(version: number): Version {
    let known = this.#versions.get(version);
    if (known === undefined) {
      const sector = sectorOf(IMAGE_VALUES + version);
      const content = Buffer.concat(Array.from({ length: SECTORS }, () => sector));
      const manifest = ImageManifest.of(IMAGE_BYTES, [createHash('sha256').update(content).digest()]);
      known = { content, manifest };
      this.#versions.set(version, known);
    }
    return known;
  }

  #bytesOn(nodeId: string, version: number): Uint8Array {
    return this.#damaged.get(`${nodeId} ${version}`) ?? this.#version(version).content;
  }

  #raw(process: Process, version: number): OpenImage {
    return {
      sizeBytes: IMAGE_BYTES,
      read: (offsetBytes, lengthBytes) => {
        const bytes = new Uint8Array(lengthBytes);
        bytes.set(this.#bytesOn(process.nodeId, version).subarray(offsetBytes, offsetBytes + lengthBytes));
        return Promise.resolve(bytes);
      },
      close: () => Promise.resolve(),
    };
  }

  /** As storage/image/image-mender.ts does, over a disk that is never full. */
  async #mend(process: Process, version: number, chunk: number): Promise<boolean> {
    const { counters } = this.#options;
    const holders = this.#holders(process);
    const wanted = { name: 'image', version, manifestSha256: '', holders };
    const { manifest } = this.#version(version);
    counters.add('sim.image-damage-found');
    try {
      const sound = await fetchChunk(this.#fetcher(), wanted, { manifest, index: chunk }, () => {});
      this.#damaged.set(`${process.nodeId} ${version}`, sound);
      if (Buffer.compare(sound, this.#version(version).content) === 0)
        this.#damaged.delete(`${process.nodeId} ${version}`);
      counters.add('sim.image-damage-mended');
      return true;
    } catch (error) {
      if (!(error instanceof OperationError)) throw error;
      this.#noteLacking(process, holders);
      return false;
    }
  }

  #noteLacking(process: Process, holders: readonly string[]): void {
    const { counters, fail } = this.#options;
    if (holders.length > 0)
      fail(`${process.incarnation} has an image mended by none of ${holders.join(', ')}`);
    counters.add('sim.image-lacking');
    this.#lacking.set(process, (this.#lacking.get(process) ?? 0) + 1);
  }

  /** Other nodes that answer. */
  #holders(process: Process): string[] {
    const { processes, network, world } = this.#options;
    const others = processes().filter((other) => other.isAlive && other.nodeId !== process.nodeId);
    return others.flatMap(({ nodeId }) =>
      network.wholeLink(process, nodeId, world.nowMs) === undefined ? [] : [nodeId],
    );
  }

  #fetcher(): ContentFetcher {
    const nothing = () => Promise.reject(new Error('nobody asks for that'));
    return {
      manifest: nothing,
      bootFile: nothing,
      chunk: (from, { version }) => Promise.resolve(this.#bytesOn(from, version)),
    };
  }

  /** A bit turns over in an image on the node's disk, of a version that clients have disks of. */
  flip(nodeId: string): void {
    const { world, counters } = this.#options;
    const versions = [...this.#versions.keys()].slice(-NEWEST_VERSIONS);
    const version = versions[world.random.below(Math.max(1, versions.length))];
    const at = world.random.below(IMAGE_BYTES);
    const isDamaged = [...this.#damaged.keys()].some((key) => key.endsWith(` ${version}`));
    if (version === undefined || isDamaged) return;
    const damaged = Uint8Array.from(this.#version(version).content);
    damaged[at] = (damaged[at] as number) ^ (1 << world.random.below(8));
    this.#damaged.set(`${nodeId} ${version}`, damaged);
    counters.add('sim.image-flips');
  }

  /** A read begins. @returns whether it may have failed for want of an image, to be asked when it is over */
  readBegins(process: Process): () => boolean {
    const before = this.#lacking.get(process) ?? 0;
    return () => (this.#lacking.get(process) ?? 0) > before;
  }

  /** As storage/image/image-scrub.ts does, in its own time. */
  #scrub(process: Process, image: VerifiedImage): void {
    const { world } = this.#options;
    process.enterAfter(world.between(SCRUB_MS / 2, SCRUB_MS), () => {
      world.outside(image.read(0, CACHE_PAGE_BYTES)).catch((error: unknown) => {
        // It may be mended the next time.
        if (!(error instanceof DeviceError)) throw error;
      });
      this.#scrub(process, image);
    });
  }
}
