import { CounterSet } from '../../../../base/counters.ts';
import { crc32c } from '../../../../base/crc32c.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import type { MendableLog } from '../../../../base/record-log.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import {
  decodeCheckpoint,
  encodeCheckpoint,
  type LoadedCheckpoint,
} from '../../../../storage/lun/index-checkpoint.ts';
import { liveParts } from '../../../../storage/lun/live-parts.ts';
import {
  decodeGroupRecord,
  encodeControlRecord,
  type LoggedRecord,
  sealWriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { LunTable } from '../../../../storage/lun/lun-table.ts';
import type { TableSnapshot } from '../../../../storage/lun/table-snapshot.ts';
import {
  CheckpointDirectory,
  type CheckpointStore,
} from '../../../../storage/replication/checkpoint-store.ts';
import { Checkpointer } from '../../../../storage/replication/checkpointer.ts';
import { type EpochEntry, epochsBefore } from '../../../../storage/replication/epoch-table.ts';
import { decodeGroupMeta, type MetaStore } from '../../../../storage/replication/group-meta.ts';
import { ReplicaFiles } from '../../../../storage/replication/replica-files.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { realTime } from '../../../support/real-time.ts';

const GROUP = 'g';
const FOLDER = `/groups/${GROUP}`;
const CHECKPOINT = `${FOLDER}/index.checkpoint`;
const LUNS = [1, 2, 3];
/** Blocks that are written: near each other, and far away. */
const NEAR_BLOCKS = 400;
const FAR_BLOCKS = [70_000, 70_001, 2_000_000, 0xfffffff0];

export interface LifeOptions {
  readonly seed: number;
  readonly steps: number;
  /** The checkpoint is taken for one of whatever log is there: a fault that must be noticed. */
  readonly trustsAnyLog?: boolean;
}

export interface LifeResult {
  readonly difference: string | undefined;
  readonly counts: CounterSet;
}

/** Thrown at a test's own crash. */
class PowerLost extends Error {}

/**
 * One member's log, index and checkpoints on a disk that forgets, through a random life. At every opening the index
 * made from the checkpoint and the rest of the log is compared with the one made from all of the log.
 */
export class CheckpointLife {
  readonly #options: LifeOptions;
  readonly #random: SeededRandom;
  readonly #disk: FaultyDisk;
  readonly #counts = new CounterSet();
  #savedMeta: Uint8Array | undefined;
  #operationsLeft = Number.POSITIVE_INFINITY;
  #onPowerLost: () => void = () => {};
  #files!: ReplicaFiles;
  #table!: LunTable;
  #epoch = 0;
  #epochs: readonly EpochEntry[] = [];
  #difference: string | undefined;

  constructor(options: LifeOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#disk = new FaultyDisk(this.#random);
    for (const path of ['/groups', FOLDER]) this.#disk.makeDirectory(path);
  }

  async run(): Promise<LifeResult> {
    await this.#open();
    for (let step = 0; step < this.#options.steps && this.#difference === undefined; step++) {
      await this.#survive(() => this.#step());
    }
    return { difference: this.#difference, counts: this.#counts };
  }

  get #log(): MendableLog {
    return this.#files.log;
  }

  #chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  /** Lets something happen, perhaps only in part: then the power is gone, and back. */
  async #survive(work: () => Promise<void>): Promise<void> {
    let isLost = false;
    const lost = new Promise<void>((_, reject) => {
      this.#onPowerLost = () => {
        isLost = true;
        reject(new PowerLost());
      };
    });
    // It may come while nobody waits any more, of something that goes on beside.
    lost.catch(() => {});
    if (this.#chance(35)) this.#operationsLeft = 1 + this.#random.below(60);
    try {
      await Promise.race([work(), lost]);
    } catch (error) {
      if (!(error instanceof PowerLost)) throw error;
    }
    this.#operationsLeft = Number.POSITIVE_INFINITY;
    if (!isLost) return;
    this.#counts.add('crashes');
    await this.#open();
  }

  #pace = async (operation: string, path: string): Promise<void> => {
    if (--this.#operationsLeft !== 0) return;
    if (path.startsWith(CHECKPOINT)) this.#counts.add(`crashes at ${operation} of a checkpoint`);
    if (this.#chance(70)) this.#disk.crash();
    else this.#disk.kill();
    this.#onPowerLost();
    await Promise.resolve();
  };

  #store(): CheckpointStore {
    const store = new CheckpointDirectory(this.#disk.mount(this.#pace), '/groups', () =>
      Promise.resolve('id'),
    );
    if (this.#options.trustsAnyLog !== true) return store;
    return {
      logId: (groupId) => store.logId(groupId),
      begin: (groupId) => store.begin(groupId),
      remove: (groupId) => store.remove(groupId),
      read: async (groupId, use) => {
        const loaded = await store.read(groupId, decodeCheckpoint);
        return loaded === undefined ? undefined : use(await this.#madeToFit(loaded));
      },
    };
  }

  /** The same checkpoint, made to say what the present log says of the record before it. */
  async #madeToFit(loaded: LoadedCheckpoint): Promise<(into: Uint8Array, offset: number) => Promise<number>> {
    const log = await this.#openLog();
    let { origin } = loaded;
    const isThere = origin.index > log.firstIndex && origin.index <= log.nextIndex;
    for await (const { position, payload } of isThere ? log.scan(origin.index - 1) : []) {
      const epochs = epochsBefore(decodeGroupMeta(this.#savedMeta as Uint8Array).epochs, origin.index);
      origin = { ...origin, lastPosition: position, lastCrc: crc32c(payload), epochs };
      break;
    }
    await log.close();
    const { table } = loaded;
    const luns = table.luns.map(({ description, leaves, newestHigh, givenUp }) => {
      const made = leaves.map((entries) => ({
        entries,
        count: entries.length / 7,
        stamp: 0,
        lowest: undefined,
      }));
      return { description, blocks: { written: { leaves: made, newestHigh, release: () => {} }, givenUp } };
    });
    const snapshot: TableSnapshot = { ...table, luns, release: () => {} };
    const bytes = Buffer.concat(Array.from(encodeCheckpoint(origin, snapshot)).flat());
    return (into, offset) => {
      const part = bytes.subarray(offset, offset + into.length);
      into.set(part);
      return Promise.resolve(part.length);
    };
  }

  readonly #meta: MetaStore = {
    load: () => Promise.resolve(this.#savedMeta),
    save: (_, bytes) => {
      this.#savedMeta = bytes;
      return Promise.resolve();
    },
  };

  async #openLog(verifyFrom = 0): Promise<MendableLog> {
    const { log } = await openSegmentedLog({
      directory: `${FOLDER}/log`,
      fileSystem: this.#disk.mount(this.#pace),
      segmentSizeBytes: 60_000,
      verifyFrom,
      logger: silentLogger,
      counters: this.#counts,
    });
    this.#disk.syncDirectory(FOLDER);
    return log;
  }

  async #open(): Promise<void> {
    const source = { store: this.#store(), onIgnored: () => this.#counts.add('ignored') };
    const openLog = (_: string, _mustExist: boolean, from?: number): Promise<MendableLog> =>
      this.#openLog(from);
    this.#files = await ReplicaFiles.open(GROUP, this.#meta, openLog, source);
    const whole = await this.#readWholeLog();
    this.#table = whole;
    const checkpoint = this.#files.takeCheckpoint();
    this.#counts.add('openings');
    if (checkpoint === undefined) return;
    this.#counts.add('used');
    const { index } = checkpoint.origin;
    const restored = newTable();
    restored.restore(checkpoint.table);
    if (index < this.#log.nextIndex) {
      this.#counts.add('tails');
      for await (const record of this.#log.scan(index)) restored.applyScanned(record);
    }
    this.#difference = differenceBetween(whole, restored);
    // Whatever comes next is to rest on what was restored.
    this.#table = restored;
  }

  async #readWholeLog(): Promise<LunTable> {
    const table = newTable();
    const { baseIndex, luns, epochs } = this.#files.meta;
    this.#epochs = epochsBefore(epochs, this.#log.nextIndex);
    this.#epoch = Math.max(this.#epoch, epochs.at(-1)?.epoch ?? 0);
    table.restart(baseIndex, luns);
    for await (const record of this.#log.scan(baseIndex)) table.applyScanned(record);
    return table;
  }

  async #step(): Promise<void> {
    switch (this.#random.below(16)) {
      case 0:
        return this.#cut();
      case 1:
        return this.#trim();
      case 2:
        return this.#compact();
      case 3:
        return this.#chance(25) ? this.#reset() : this.#trim();
      case 4:
      case 5:
      case 6:
        return this.#checkpoint();
      case 7:
        await this.#log.close();
        return this.#open();
      default:
        return this.#append(Array.from({ length: 1 + this.#random.below(6) }, () => this.#someRecord()));
    }
  }

  /** Made when its number is known. */
  #someRecord(): (index: number) => Uint8Array {
    const random = this.#random;
    const lunId = LUNS[random.below(LUNS.length)] as number;
    const epoch = this.#epoch;
    const kind = random.below(100);
    if (this.#table.get(lunId) === undefined || kind < 2) {
      const base = { name: 'i', version: 1 + random.below(9) };
      return (generation) =>
        encodeControlRecord({ kind: 'resetLun', epoch, lunId, generation, base, lengthBlocks: 8_000 });
    }
    if (kind < 3) return () => encodeControlRecord({ kind: 'dropLun', epoch, lunId });
    if (kind < 6) {
      const state = random.bytes(random.below(40));
      return () => encodeControlRecord({ kind: 'serverState', epoch, lunId, state });
    }
    const far = FAR_BLOCKS[random.below(FAR_BLOCKS.length)] as number;
    const firstBlock = this.#chance(10) ? far : random.below(NEAR_BLOCKS);
    if (kind < 25) {
      const blockCount = 1 + random.below(120);
      return () => encodeControlRecord({ kind: 'discard', epoch, lunId, firstBlock, blockCount });
    }
    const blockCount = 1 + random.below(3);
    const payload = new Uint8Array(writeRecordBytes(blockCount));
    payload.fill(random.below(256), payload.length - 4_096);
    sealWriteRecord(payload, { epoch, lunId, firstBlock, blockCount });
    return () => payload;
  }

  async #append(records: readonly ((index: number) => Uint8Array)[]): Promise<void> {
    if (this.#epochs.length === 0) return this.#takeOffice();
    const from = this.#log.nextIndex;
    const payloads = records.map((make, i) => make(from + i));
    const { firstIndex, positions } = await this.#log.append(payloads);
    for (const [i, payload] of payloads.entries()) {
      this.#table.hold(firstIndex + i, positions[i] as number, decodeGroupRecord(payload));
    }
    this.#table.applyHeld(this.#log.nextIndex);
    if (this.#chance(20)) await this.#log.sync();
  }

  async #takeOffice(): Promise<void> {
    this.#epoch++;
    const startIndex = this.#log.nextIndex;
    this.#epochs = [...epochsBefore(this.#epochs, startIndex), { epoch: this.#epoch, startIndex }];
    await this.#files.saveEpoch(this.#epoch, 800, this.#epochs);
    const payload = encodeControlRecord({ kind: 'epochStart', epoch: this.#epoch, primary: 'n' });
    await this.#append([() => payload]);
  }

  /** Another primary's log parts from this one, even where it had been taken for committed. */
  async #cut(): Promise<void> {
    const { lunsIndex } = this.#files.meta;
    const from = lunsIndex + this.#random.below(this.#log.nextIndex - lunsIndex + 1);
    const lost = this.#log.nextIndex - from;
    await this.#log.truncateFrom(from);
    this.#counts.add('cuts');
    await this.#files.saveEpoch(this.#epoch, 800, epochsBefore(this.#epochs, from));
    this.#table = await this.#readWholeLog();
    await this.#takeOffice();
    // As many records as before may stand there again.
    for (let i = 1; i < lost && this.#chance(95); i++) await this.#append([this.#someRecord()]);
  }

  async #trim(): Promise<void> {
    const index = this.#table.firstNeededIndex();
    if (index <= this.#files.meta.baseIndex) return;
    await this.#log.sync();
    this.#counts.add('trims');
    const { appliedIndex: lunsIndex } = this.#table;
    await this.#files.saveBase(index, { luns: this.#table.describe(), lunsIndex });
    await this.#log.trimBefore(index);
    this.#table.forgetBefore(index);
  }

  async #compact(): Promise<void> {
    const parts: LoggedRecord[] = [];
    let left = 1 + this.#random.below(30);
    for await (const { position, payload } of this.#log.scan(this.#files.meta.baseIndex)) {
      parts.push(...liveParts(this.#table, position, decodeGroupRecord(payload), this.#epoch));
      if (--left === 0) break;
    }
    this.#counts.add('carried', parts.length);
    await this.#append(
      parts.map(
        ({ payload }) =>
          () =>
            payload,
      ),
    );
    await this.#trim();
  }

  async #reset(): Promise<void> {
    this.#counts.add('resets');
    const baseIndex = this.#log.nextIndex + this.#random.below(20);
    const given = {
      ...{ baseIndex, lunsIndex: baseIndex },
      ...{ luns: this.#table.describe(), epochs: this.#epochs },
    };
    await this.#files.replace(given, () => this.#log.resetTo(baseIndex));
    this.#table = await this.#readWholeLog();
  }

  async #checkpoint(): Promise<void> {
    if (this.#table.logBytes === 0) return;
    let writer: Checkpointer | undefined;
    await new Promise<void>((resolve, reject) => {
      const ports = {
        groupId: GROUP,
        store: this.#store(),
        log: this.#log,
        table: this.#table,
        timers: { setTimer: (_: number, fire: () => void) => realTime.setTimer(0, fire) },
        epochs: () => this.#epochs,
        growthBytes: 0,
        isDiskLow: () => false,
        onWritten: () => {
          this.#counts.add('written');
          resolve();
        },
        onTrouble: (reason: string) => reject(new Error(reason)),
        onFailure: reject,
      };
      writer = new Checkpointer(ports, undefined);
      writer.tick(0);
      // What is applied meanwhile must not show in it.
      const more = Array.from({ length: this.#random.below(4) }, () => this.#someRecord());
      if (more.length > 0) this.#append(more).catch(reject);
      // One whose last record was let go of is not written at all.
      if (this.#table.appliedIndex - 1 < this.#log.firstIndex) resolve();
    });
  }
}

function newTable(): LunTable {
  const images = { open: () => Promise.resolve(undefined) };
  return new LunTable(images, () => {});
}

function differenceBetween(a: LunTable, b: LunTable): string | undefined {
  if (a.appliedIndex !== b.appliedIndex) return `applied ${a.appliedIndex} and ${b.appliedIndex}`;
  const [x, y] = [contentOf(a), contentOf(b)];
  const at = x.findIndex((line, i) => line !== y[i]);
  return at < 0 && x.length === y.length ? undefined : `${x[at]} and ${y[at]}`;
}

function contentOf(table: LunTable): string[] {
  const lines: string[] = [];
  for (const lunId of LUNS) {
    const lun = table.get(lunId);
    if (lun === undefined) continue;
    lines.push(JSON.stringify(lun.describe()), `${lunId}: ${lun.blocks.writtenBlocks} blocks`);
    const near = Array.from({ length: NEAR_BLOCKS + 130 }, (_, i) => i);
    const far = FAR_BLOCKS.flatMap((block) => Array.from({ length: 130 }, (_, i) => block + i));
    for (const block of [...near, ...far]) {
      const position = lun.blocks.position(block);
      lines.push(`${lunId}/${block} at ${position}, ${position > 0 ? lun.blocks.crc(block) : ''}`);
    }
  }
  return lines;
}
