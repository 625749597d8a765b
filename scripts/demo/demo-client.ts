import type { Ipv4 } from '../../base/ipv4.ts';
import type { MacAddress } from '../../base/mac-address.ts';
import type { RandomSource } from '../../base/random.ts';
import type { BootTarget } from '../simulator/boot-script.ts';
import { type BootStep, networkBoot } from '../simulator/network-boot.ts';
import { PersistentInitiator } from '../simulator/persistent-initiator.ts';
import { readStamp, stampedBlock } from './block-stamp.ts';
import { IMAGE_BLOCK_BYTES, imageBlock } from './demo-image.ts';

const SECTORS_PER_BLOCK = IMAGE_BLOCK_BYTES / 512;
const WRITES_IN_FLIGHT = 8;
/** Blocks read at once when checking. */
const CHECK_RUN_BLOCKS = 16;
const LOGIN_PAUSE_MS = 10;
const LOGIN_TIMEOUT_MS = 1_000;

export interface DemoClientOptions {
  readonly number: number;
  readonly name: string;
  readonly mac: MacAddress;
  readonly firmware: 'bios' | 'uefi';
  readonly relayAddress: Ipv4;
  readonly servers: readonly Ipv4[];
  readonly dhcpPort: number;
  readonly tftpPort: number;
  readonly random: RandomSource;
  /** Of the image, in 4 KiB blocks: all of it, and how much holds the pattern; the client writes to all of it. */
  readonly imageBlocks: number;
  readonly filledBlocks: number;
}

/**
 * A simulated machine: boots over the network, checks its disk against the image, writes stamped blocks until
 * told to stop, and checks each one that was acknowledged.
 */
export class DemoClient {
  readonly options: DemoClientOptions;
  stage = 'off';
  acknowledged = 0;
  bootMs = 0;
  lost = 0;
  checked = 0;
  /** The longest time without an acknowledgement while there was something to write. */
  longestPauseMs = 0;
  #lastAcknowledgedAtMs = 0;
  readonly #sequences = new Map<number, number>();
  #target: BootTarget | undefined;
  #initiator: PersistentInitiator | undefined;
  #writing: Promise<void>[] = [];
  #stopWriting = false;

  constructor(options: DemoClientOptions) {
    this.options = options;
  }

  /** What to show: the stage, or that its disk is gone for the moment. */
  get shownStage(): string {
    const isWaiting = this.stage === 'writing' && this.#initiator?.isLoggedIn === false;
    return isWaiting ? 'reconnecting' : this.stage;
  }

  /** Logins after the first since it was switched on. */
  get reconnects(): number {
    return this.#initiator?.reconnects ?? 0;
  }

  /** The portal it attached, as "ADDRESS:PORT". */
  get portal(): string {
    return this.#target === undefined ? '' : `${this.#target.portalAddress}:${this.#target.portalPort}`;
  }

  /** Powers on: everything a machine does until its operating system has read what it boots from. */
  async boot(): Promise<void> {
    const startedMs = performance.now();
    this.stage = 'DHCP';
    const { mac, relayAddress, servers, dhcpPort, tftpPort, random, firmware } = this.options;
    this.#target = await networkBoot({
      ...{ mac, relayAddress, servers, dhcpPort, tftpPort, random },
      architectureType: firmware === 'uefi' ? 7 : 0,
      onStep: (step) => this.#showStep(step),
    });
    this.stage = 'iSCSI login';
    const { portalAddress: host, portalPort: port, ...disk } = this.#target;
    this.#initiator = new PersistentInitiator(
      { host, port, ...disk, timeoutMs: LOGIN_TIMEOUT_MS },
      LOGIN_PAUSE_MS,
    );
    await this.#initiator.capacityBlocks();
    this.stage = 'loading';
    await this.#checkPristine(0, this.options.filledBlocks);
    this.bootMs = performance.now() - startedMs;
    this.stage = 'running';
  }

  startWriting(): void {
    this.stage = 'writing';
    this.#stopWriting = false;
    this.#lastAcknowledgedAtMs = performance.now();
    this.#writing = Array.from({ length: WRITES_IN_FLIGHT }, (_, lane) => this.#writeLane(lane));
    // stopWriting() tells of a failure. Where the demonstration ends before that, what ended it is to be seen.
    for (const lane of this.#writing) lane.catch(() => {});
  }

  /** Stops once what has been begun is acknowledged. */
  async stopWriting(): Promise<void> {
    this.#stopWriting = true;
    await Promise.all(this.#writing);
    this.stage = 'running';
  }

  /** Reads back every block that was acknowledged. */
  async checkWritten(): Promise<void> {
    this.stage = 'checking';
    for (const [block, sequence] of this.#sequences) {
      const stamp = readStamp(await this.#read(block, 1));
      const right =
        stamp?.client === this.options.number && stamp.block === block && stamp.sequence === sequence;
      if (!right) this.lost++;
      this.checked++;
    }
    this.stage = 'checked';
  }

  /** Power off without a word, as people do. */
  async powerOff(): Promise<void> {
    const initiator = this.#initiator;
    this.#initiator = undefined;
    this.stage = 'off';
    await initiator?.stop();
  }

  /** After a reboot: nothing of what it wrote may be there. @throws Error naming the first block that differs */
  async checkWholeDiskPristine(): Promise<void> {
    this.stage = 'checking';
    await this.#checkPristine(0, this.options.imageBlocks);
    this.stage = 'pristine';
  }

  #showStep(step: BootStep): void {
    switch (step.kind) {
      case 'lease':
        this.stage = step.firmware === 'pxe' ? 'TFTP' : 'HTTP';
        return;
      case 'program':
        this.stage = 'DHCP (iPXE)';
        return;
      case 'script':
        this.stage = step.shown[0] ?? 'script';
        return;
      case 'target':
        return;
      case 'retry':
        this.stage = `${step.stage}: ${step.problem}`;
        return;
    }
  }

  /** Each lane has blocks of its own, so that the last one acknowledged is what must be there. */
  async #writeLane(lane: number): Promise<void> {
    const { imageBlocks, random, number: client } = this.options;
    while (!this.#stopWriting) {
      const block = random.below(Math.floor(imageBlocks / WRITES_IN_FLIGHT)) * WRITES_IN_FLIGHT + lane;
      const sequence = (this.#sequences.get(block) ?? 0) + 1;
      const data = stampedBlock({ client, block, sequence });
      await this.#disk().write(block * SECTORS_PER_BLOCK, data);
      this.#sequences.set(block, sequence);
      this.acknowledged++;
      const nowMs = performance.now();
      this.longestPauseMs = Math.max(this.longestPauseMs, nowMs - this.#lastAcknowledgedAtMs);
      this.#lastAcknowledgedAtMs = nowMs;
    }
  }

  async #checkPristine(firstBlock: number, endBlock: number): Promise<void> {
    const zero = new Uint8Array(IMAGE_BLOCK_BYTES);
    for (let at = firstBlock; at < endBlock; at += CHECK_RUN_BLOCKS) {
      const count = Math.min(CHECK_RUN_BLOCKS, endBlock - at);
      const bytes = await this.#read(at, count);
      for (let i = 0; i < count; i++) {
        const got = bytes.subarray(i * IMAGE_BLOCK_BYTES, (i + 1) * IMAGE_BLOCK_BYTES);
        const wanted = at + i < this.options.filledBlocks ? imageBlock(at + i) : zero;
        if (Buffer.compare(got, wanted) !== 0) {
          throw new Error(`${this.options.name}: block ${at + i} is not the image's`);
        }
      }
    }
  }

  #read(block: number, count: number): Promise<Uint8Array> {
    return this.#disk().read(block * SECTORS_PER_BLOCK, count * SECTORS_PER_BLOCK);
  }

  #disk(): PersistentInitiator {
    if (this.#initiator === undefined) throw new Error(`${this.options.name} has no disk attached`);
    return this.#initiator;
  }
}
