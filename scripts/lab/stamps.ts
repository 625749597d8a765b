import { createHash } from 'node:crypto';
import type { Console } from './console.ts';

const BLOCK_BYTES = 4096;
const SLOTS = 2048;

/** What the guest was told and said about its stamped blocks. */
export interface StampRun {
  readonly first: number;
  /** The number after the last block acknowledged. */
  readonly end: number;
  readonly acknowledged: readonly Acknowledgement[];
}

export interface Acknowledgement {
  readonly stamp: number;
  /** By the guest's own clock since its start, which it can only go on with if it never rebooted. */
  readonly uptimeMs: number;
}

const ACK = /^BOOTFABRIC-GUEST ack (\d+) (\d+\.\d+)$/;

/** The guest writes stamped blocks, one after the other, until told to stop. */
export class StampWriter {
  readonly #console: Console;
  readonly #first: number;
  readonly #firstLine: number;

  constructor(console: Console, first: number) {
    this.#console = console;
    this.#first = first;
    this.#firstLine = console.lines.length;
    console.send(`write ${first} 1000000`);
  }

  acknowledged(): Acknowledgement[] {
    const found: Acknowledgement[] = [];
    for (const line of this.#console.lines.slice(this.#firstLine)) {
      const match = ACK.exec(line.text);
      if (match !== null)
        found.push({ stamp: Number(match[1]), uptimeMs: Math.round(Number(match[2]) * 1000) });
    }
    return found;
  }

  /** Waits until that many blocks more are acknowledged. */
  async more(count: number, timeoutMs: number): Promise<void> {
    const goal = this.#first + this.acknowledged().length + count - 1;
    const numbered = (await this.#console.waitFor(/BOOTFABRIC-GUEST (ack|write-error) (\d+)/, timeoutMs))
      .match;
    if (numbered[1] === 'write-error') throw new Error(`the guest saw an error:\n${this.#console.tail()}`);
    if (Number(numbered[2]) < goal) {
      await this.#console.waitFor(new RegExp(`BOOTFABRIC-GUEST (ack ${goal} |write-error)`), timeoutMs);
    }
  }

  async stop(timeoutMs: number): Promise<StampRun> {
    this.#console.send('');
    const { match } = await this.#console.waitFor(
      /BOOTFABRIC-GUEST (written (\d+)|write-error .*)/,
      timeoutMs,
    );
    if (match[2] === undefined)
      throw new Error(`the guest saw an error: ${match[1]}\n${this.#console.tail()}`);
    const acknowledged = this.acknowledged();
    acknowledged.forEach((ack, index) => {
      if (ack.stamp !== this.#first + index)
        throw new Error(`block ${this.#first + index} was not acknowledged`);
    });
    return { first: this.#first, end: Number(match[2]), acknowledged };
  }
}

/** SHA-256 of the guest's file of blocks after stamps 0 to end - 1 were written to it, the rest zeros. */
export function expectedSum(end: number): string {
  const content = Buffer.alloc(SLOTS * BLOCK_BYTES);
  for (let stamp = Math.max(0, end - SLOTS); stamp < end; stamp++) {
    content.write(`${`stamp ${stamp}`.padEnd(BLOCK_BYTES - 1)}\n`, (stamp % SLOTS) * BLOCK_BYTES, 'latin1');
  }
  return createHash('sha256').update(content).digest('hex');
}

/** The longest time between two acknowledgements, in milliseconds, among those from index `from` on. */
export function longestPauseMs(acknowledged: readonly Acknowledgement[], from = 0): number {
  let longestMs = 0;
  for (let i = Math.max(1, from); i < acknowledged.length; i++) {
    const pauseMs = (acknowledged[i]?.uptimeMs ?? 0) - (acknowledged[i - 1]?.uptimeMs ?? 0);
    longestMs = Math.max(longestMs, pauseMs);
  }
  return longestMs;
}
