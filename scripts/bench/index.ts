import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { CounterSet } from '../../base/counters.ts';
import { silentLogger } from '../../base/logger.ts';
import { SeededRandom } from '../../base/random.ts';
import type { MendableLog } from '../../base/record-log.ts';
import { systemTimers } from '../../node/system.ts';
import { nodeFileSystem } from '../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../storage/log/segmented-log.ts';
import { BlockIndex } from '../../storage/lun/block-index.ts';
import {
  decodeGroupRecord,
  encodeControlRecord,
  sealWriteRecord,
  writeRecordBytes,
} from '../../storage/lun/log-record.ts';
import { LunTable } from '../../storage/lun/lun-table.ts';
import { CheckpointDirectory } from '../../storage/replication/checkpoint-store.ts';
import { Checkpointer } from '../../storage/replication/checkpointer.ts';
import { MetaDirectory } from '../../storage/replication/meta-directory.ts';
import { ReplicaFiles } from '../../storage/replication/replica-files.ts';

const HELP = `usage: npm run bench:index -- [OPTION ...]

How long a portal group takes to know again, after a restart, where each written block lies in its log: with a checkpoint
of the index, so that only what came after it has to be read, and without, reading all of the log. Also what the index
takes in memory for each written block, and the checkpoint on disk. Writes about 4.1 KB of log for each block.

  --blocks N       blocks written, 4 KiB each; default 1000000
  --tail N         blocks written again after the checkpoint; default 20000 (about 80 MB of log)
  --record N       blocks in each record of the log; default 16
  --pattern P      random: records lie anywhere on a disk eight times as large. sequential: one after another.
                   default random
  --rounds N       restarts of each kind, in turn; default 3; medians are printed
  --directory DIR  where the log is made; default a temporary one. Removed at the end.
  --json           print a JSON document
  --help           this text
`;

const GROUP = 'bench';
const LUN = 1;
const EPOCH = 1;
const BATCH_RECORDS = 64;
const DISK_TIMES = 8;
const SCATTERED = 2_654_435_761;

interface Plan {
  readonly blocks: number;
  readonly tail: number;
  readonly record: number;
  readonly isRandom: boolean;
}

/** The first block of the n-th record: each once, in an order that suits no index. */
function firstBlock(n: number, { blocks, record, isRandom }: Plan): number {
  const records = Math.ceil(blocks / record);
  if (!isRandom) return (n % records) * record;
  const places = records * DISK_TIMES + 1;
  return (((n % records) * SCATTERED) % places) * record;
}

function encodeWrite(n: number, plan: Plan, fill: Uint8Array): Uint8Array {
  const payload = Buffer.allocUnsafe(writeRecordBytes(plan.record));
  for (let at = payload.length - plan.record * 4096; at < payload.length; at += 4096) payload.set(fill, at);
  payload.writeUInt32BE(n, payload.length - 4096);
  sealWriteRecord(payload, {
    epoch: EPOCH,
    lunId: LUN,
    firstBlock: firstBlock(n, plan),
    blockCount: plan.record,
  });
  return payload;
}

class Bench {
  readonly #directory: string;
  readonly #plan: Plan;
  readonly #counters = new CounterSet();
  readonly #meta: MetaDirectory;
  readonly #store: CheckpointDirectory;

  constructor(directory: string, plan: Plan) {
    this.#directory = directory;
    this.#plan = plan;
    this.#meta = new MetaDirectory(directory);
    this.#store = new CheckpointDirectory(nodeFileSystem, directory, () => Promise.resolve('bench'));
  }

  async #openLog(verifyFrom = 0): Promise<MendableLog> {
    const { log } = await openSegmentedLog({
      directory: join(this.#directory, GROUP, 'log'),
      fileSystem: nodeFileSystem,
      verifyFrom,
      logger: silentLogger,
      counters: this.#counters,
    });
    return log;
  }

  #open(withCheckpoint: boolean): Promise<ReplicaFiles> {
    const onIgnored = (reason: string): never => {
      throw new Error(`the checkpoint was ignored: ${reason}`);
    };
    return ReplicaFiles.open(
      GROUP,
      this.#meta,
      (_, _mustExist, from) => this.#openLog(from),
      withCheckpoint ? { store: this.#store, onIgnored } : undefined,
    );
  }

  /** Writes the log, and the checkpoint before its last part. @returns bytes of the checkpoint */
  async prepare(): Promise<number> {
    const files = await this.#open(false);
    const table = newTable();
    table.restart(files.meta.baseIndex, []);
    const epochs = [{ epoch: EPOCH, startIndex: files.log.nextIndex }];
    await files.saveEpoch(EPOCH, 800, epochs);
    const base = { name: 'bench', version: 1 };
    const lun = { lunId: LUN, generation: 2, base, lengthBlocks: 2 ** 40 };
    await append(files.log, table, [
      encodeControlRecord({ kind: 'epochStart', epoch: EPOCH, primary: 'bench' }),
      encodeControlRecord({ kind: 'resetLun', epoch: EPOCH, ...lun }),
    ]);
    const records = Math.ceil(this.#plan.blocks / this.#plan.record);
    await this.#write(files.log, table, 0, records);
    const sizeBytes = await this.#checkpoint(files, table, epochs);
    await this.#write(files.log, table, records, records + Math.ceil(this.#plan.tail / this.#plan.record));
    await files.log.close();
    return sizeBytes;
  }

  async #write(log: MendableLog, table: LunTable, from: number, to: number): Promise<void> {
    const fill = new SeededRandom(1).bytes(4096);
    for (let n = from; n < to; n += BATCH_RECORDS) {
      const count = Math.min(BATCH_RECORDS, to - n);
      await append(
        log,
        table,
        Array.from({ length: count }, (_, i) => encodeWrite(n + i, this.#plan, fill)),
      );
    }
  }

  #checkpoint(
    files: ReplicaFiles,
    table: LunTable,
    epochs: readonly { epoch: number; startIndex: number }[],
  ) {
    return new Promise<number>((resolve, reject) => {
      const ports = {
        groupId: GROUP,
        store: this.#store,
        log: files.log,
        table,
        timers: systemTimers,
        epochs: () => epochs,
        growthBytes: 0,
        isDiskLow: () => false,
        onWritten: resolve,
        onTrouble: (reason: string) => reject(new Error(reason)),
        onFailure: reject,
      };
      new Checkpointer(ports, undefined).tick(0);
    });
  }

  /** One start: from opening the files to the index being whole. */
  async restart(withCheckpoint: boolean): Promise<{ ms: number; writtenBlocks: number }> {
    const startMs = performance.now();
    const files = await this.#open(withCheckpoint);
    const table = newTable();
    const checkpoint = files.takeCheckpoint();
    if (checkpoint === undefined) table.restart(files.meta.baseIndex, files.meta.luns);
    else table.restore(checkpoint.table);
    for await (const record of files.log.scan(table.appliedIndex)) table.applyScanned(record);
    const ms = performance.now() - startMs;
    await files.log.close();
    return { ms, writtenBlocks: table.get(LUN)?.blocks.writtenBlocks ?? 0 };
  }

  get checkpointBytes(): number {
    return statSync(join(this.#directory, GROUP, 'index.checkpoint')).size;
  }
}

function newTable(): LunTable {
  return new LunTable({ open: () => Promise.resolve(undefined) }, () => {});
}

async function append(log: MendableLog, table: LunTable, payloads: readonly Uint8Array[]): Promise<void> {
  const { firstIndex, positions } = await log.append(payloads);
  for (const [i, payload] of payloads.entries()) {
    table.hold(firstIndex + i, positions[i] as number, decodeGroupRecord(payload));
  }
  table.applyHeld(log.nextIndex);
}

/** What an index of those blocks takes, by what the process takes with and without it. */
function memoryBytes(plan: Plan): number {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error('start it with --expose-gc, as npm run bench:index does');
  const taken = (): number => {
    collect();
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = taken();
  const index = new BlockIndex();
  for (let n = 0; n < Math.ceil(plan.blocks / plan.record); n++) {
    const first = firstBlock(n, plan);
    for (let i = 0; i < plan.record; i++) index.set(first + i, n * 70_000 + 100 + i * 4096, n);
  }
  const bytes = taken() - before;
  // Looked at last, so that it is not collected before.
  return bytes / index.writtenBlocks;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      blocks: { type: 'string', default: '1000000' },
      tail: { type: 'string', default: '20000' },
      record: { type: 'string', default: '16' },
      pattern: { type: 'string', default: 'random' },
      rounds: { type: 'string', default: '3' },
      directory: { type: 'string', default: tmpdir() },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const count = (name: 'blocks' | 'tail' | 'record' | 'rounds', least: number): number => {
    const value = Number(values[name]);
    if (!Number.isSafeInteger(value) || value < least) {
      throw new Error(`--${name} ${values[name]}: a whole number of at least ${least} is expected`);
    }
    return value;
  };
  if (!['random', 'sequential'].includes(values.pattern)) {
    throw new Error(`--pattern ${values.pattern}: random or sequential is expected`);
  }
  const plan: Plan = {
    blocks: count('blocks', 1),
    tail: count('tail', 0),
    record: Math.min(256, count('record', 1)),
    isRandom: values.pattern === 'random',
  };
  const memory = memoryBytes(plan);
  const directory = mkdtempSync(join(values.directory, 'bootfabric-bench-index-'));
  try {
    const bench = new Bench(directory, plan);
    await bench.prepare();
    const times = { with: [] as number[], without: [] as number[] };
    let writtenBlocks = 0;
    for (let round = 0; round < count('rounds', 1); round++) {
      for (const kind of ['with', 'without'] as const) {
        const start = await bench.restart(kind === 'with');
        times[kind].push(start.ms);
        writtenBlocks = start.writtenBlocks;
      }
    }
    report(values.json, {
      ...plan,
      writtenBlocks,
      memoryBytesPerBlock: memory,
      checkpointBytes: bench.checkpointBytes,
      withCheckpointMs: times.with,
      withoutMs: times.without,
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Figures extends Plan {
  readonly writtenBlocks: number;
  readonly memoryBytesPerBlock: number;
  readonly checkpointBytes: number;
  readonly withCheckpointMs: readonly number[];
  readonly withoutMs: readonly number[];
}

function report(json: boolean, figures: Figures): void {
  if (json) {
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    return;
  }
  const { writtenBlocks, memoryBytesPerBlock, checkpointBytes, withCheckpointMs, withoutMs } = figures;
  const lines = [
    `${writtenBlocks} blocks written, ${figures.isRandom ? 'random' : 'sequential'}, ${figures.record} to a record, ${figures.tail} blocks after the checkpoint`,
    `memory       ${memoryBytesPerBlock.toFixed(1)} bytes a block`,
    `checkpoint   ${(checkpointBytes / 1e6).toFixed(1)} MB on disk, ${(checkpointBytes / writtenBlocks).toFixed(1)} bytes a block`,
    `start        ${median(withCheckpointMs).toFixed(0)} ms with the checkpoint, ${median(withoutMs).toFixed(0)} ms without`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`bench:index: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
