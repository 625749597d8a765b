import { decodeFrame } from '../../../storage/replication/frame.ts';
import type { Weather } from '../network.ts';
import type { Process, World } from '../world.ts';

/** Kind bytes of the frames by which members answer a primary. */
const ACK = 5;
const POSITION = 6;

/** The frames that may be lost, doubled and reordered without a link's going down. */
export function isAcknowledgement(message: Uint8Array): boolean {
  return message[0] === ACK;
}

export const ACKNOWLEDGEMENT_WEATHER: Weather = {
  lossPercent: 5,
  doublingPercent: 15,
  reorderingPercent: 15,
  strayMs: 600,
  delayMs: 2,
};

/**
 * Stands in for the portal address: each process puts it on and takes it off in its own time. Whoever says that it
 * has let go of an earlier office must not have it any more.
 */
export class Addresses {
  readonly #world: World;
  readonly #fail: (what: string) => void;
  readonly #held = new Map<Process, { wanted: boolean; held: boolean; changing: Promise<void> }>();
  readonly counts = { releases: 0, failedDrops: 0 };

  constructor(world: World, fail: (what: string) => void) {
    this.#world = world;
    this.#fail = fail;
  }

  #of(process: Process) {
    let address = this.#held.get(process);
    if (address === undefined) {
      address = { wanted: false, held: false, changing: Promise.resolve() };
      this.#held.set(process, address);
    }
    return address;
  }

  follow(process: Process, serving: boolean): Promise<void> {
    const address = this.#of(process);
    address.wanted = serving;
    address.changing = address.changing.then(() => this.#change(process));
    return address.changing;
  }

  async #change(process: Process): Promise<void> {
    const address = this.#of(process);
    while (address.held !== address.wanted) {
      await new Promise<void>((resolve) => process.enterAfter(this.#world.between(0, 25), resolve));
      // Now and then it cannot be taken off at once.
      if (!address.wanted && this.#world.chance(15)) this.counts.failedDrops++;
      else address.held = address.wanted;
    }
  }

  /** Looks at what a process says before it leaves. */
  overhear(process: Process, message: Uint8Array): void {
    if (message[0] !== ACK && message[0] !== POSITION) return;
    const frame = decodeFrame(message);
    if (!('released' in frame) || !frame.released) return;
    this.counts.releases++;
    if (this.#held.get(process)?.held === true) {
      this.#fail(`${process.incarnation} says that it has let go, and has the address`);
    }
  }
}
