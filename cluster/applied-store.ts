import { Level } from 'level';
import { crc32c } from '../base/crc32c.ts';
import { OperationError, ProtocolError } from '../base/errors.ts';
import { asArray, asCount, asText, pack, unpack } from './msgpack.ts';
import { completeState } from './state/genesis.ts';
import type { ClusterState } from './state/model.ts';

/**
 * Changes with every change of keys or values below. It stands first under META_KEY in every version, so that any
 * program can tell which one wrote this.
 */
export const FORMAT_VERSION = 2;
const CHECKSUM_BYTES = 4;
const META_KEY = 'meta';
const CLUSTER_KEY = 'cluster';
/** Of no account to what is kept: programs before it pass it over and leave it as it is. */
const VOTERS_KEY = 'voters';

/** The parts of the state that are kept record by record, and what their keys begin with. */
const TABLES = {
  nodes: 'node!',
  images: 'image!',
  clients: 'client!',
  portalGroups: 'group!',
  bootFiles: 'boot-file!',
} as const;
type Table = keyof typeof TABLES;
const TABLE_NAMES = Object.keys(TABLES) as readonly Table[];

export interface AppliedState {
  readonly position: number;
  readonly state: ClusterState;
  /** Raft ids of those that had votes in the cluster log by then. Absent: not known. */
  readonly voters?: readonly number[];
}

type Change = { type: 'put'; key: string; value: Uint8Array } | { type: 'del'; key: string };

/** What the applied state asks of the database it is in: `level`, or a simulated one. */
export interface StateDatabase {
  /** To be called again after `close` only. */
  open(): Promise<void>;
  get(key: string): Promise<Uint8Array | undefined>;
  iterator(): AsyncIterable<[string, Uint8Array]>;
  /** All or nothing, whenever the power fails. @param options sync: resolves once it is on stable storage */
  batch(changes: Change[], options: { readonly sync: boolean }): Promise<void>;
  close(): Promise<void>;
}

/**
 * The applied state on disk. Each write is one atomic, durable batch of the records that differ and of the log
 * position they belong to, so after any crash the two agree.
 */
export class AppliedStore {
  readonly #database: StateDatabase;
  readonly #owner: { readonly clusterId: string; readonly nodeId: string };

  /** @param database open, and this store's alone */
  constructor(database: StateDatabase, owner: { readonly clusterId: string; readonly nodeId: string }) {
    this.#database = database;
    this.#owner = owner;
  }

  /**
   * @param path a folder of its own, made when missing; held by one process at a time
   * @throws when it cannot be opened or is held by another process
   */
  static async open(
    path: string,
    owner: { readonly clusterId: string; readonly nodeId: string },
  ): Promise<AppliedStore> {
    const level = new Level<string, Uint8Array>(path, { keyEncoding: 'utf8', valueEncoding: 'view' });
    await level.open();
    return new AppliedStore(level, owner);
  }

  /**
   * @returns undefined when nothing has been written yet
   * @throws OperationError code "foreign-data" when it belongs to another node or cluster, "other-format" when to
   *   another version of this program
   * @throws AppliedDamageError when it is not what was written
   */
  async load(): Promise<AppliedState | undefined> {
    const meta = await this.#database.get(META_KEY);
    if (meta === undefined) return undefined;
    const { clusterId, nodeId, position } = readMeta(meta);
    const { clusterId: ourCluster, nodeId: ourNode } = this.#owner;
    if (clusterId !== ourCluster || nodeId !== ourNode) {
      throw new OperationError(
        `the data is of node ${nodeId} of cluster ${clusterId}; this is node ${ourNode} of cluster ${ourCluster}`,
        { kind: 'conflict', code: 'foreign-data' },
      );
    }
    const tables: Record<Table, Record<string, unknown>> = {
      nodes: {},
      images: {},
      clients: {},
      portalGroups: {},
      bootFiles: {},
    };
    let rest: unknown;
    let noted: unknown;
    for await (const [key, value] of this.#database.iterator()) {
      if (key === META_KEY) continue;
      const record = unseal(key, value);
      if (key === CLUSTER_KEY) rest = record;
      if (key === VOTERS_KEY) noted = record;
      const table = TABLE_NAMES.find((name) => key.startsWith(TABLES[name]));
      if (table !== undefined) tables[table][key.slice(TABLES[table].length)] = record;
    }
    if (rest === undefined) throw new AppliedDamageError('it has a position, but no cluster record');
    const state = { ...(rest as object), ...tables } as unknown as ClusterState;
    const voters = votersAt(position, noted);
    return { position, state: completeState(state), ...(voters === undefined ? {} : { voters }) };
  }

  /**
   * @param before what is on disk already; undefined: nothing
   * @throws NoSpaceError, after which `reopen` comes before anything else
   */
  async write(before: ClusterState | undefined, { state, position, voters }: AppliedState): Promise<void> {
    const { clusterId, nodeId } = this.#owner;
    const changes: Change[] = [
      { type: 'put', key: META_KEY, value: metaOf({ clusterId, nodeId, position }) },
      voters === undefined
        ? { type: 'del', key: VOTERS_KEY }
        : { type: 'put', key: VOTERS_KEY, value: seal(VOTERS_KEY, [position, ...voters]) },
    ];
    if (before !== state) {
      changes.push({ type: 'put', key: CLUSTER_KEY, value: seal(CLUSTER_KEY, withoutTables(state)) });
      for (const table of TABLE_NAMES)
        addChanges(changes, TABLES[table], before?.[table] ?? {}, state[table]);
    }
    await unlessFull(() => this.#database.batch(changes, { sync: true }));
  }

  /**
   * Begins anew after there was no space: the database takes no more writes once one has failed, and whether that one
   * is there is not known.
   * @returns what is on disk, as `load` does
   * @throws NoSpaceError where there is still none, as it makes files at its opening
   */
  async reopen(): Promise<AppliedState | undefined> {
    await this.#database.close();
    await unlessFull(() => this.#database.open());
    return await this.load();
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}

/** There is no space to write the applied state. */
export class NoSpaceError extends Error {
  constructor(cause: unknown) {
    super('there is no space for the applied state', { cause });
    this.name = 'NoSpaceError';
  }
}

async function unlessFull(operation: () => Promise<void>): Promise<void> {
  try {
    await operation();
  } catch (error) {
    if (isNoSpace(error)) throw new NoSpaceError(error);
    throw error;
  }
}

/** LevelDB says it in words only, those of strerror(3) for ENOSPC and EDQUOT; its opening wraps what it says. */
function isNoSpace(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (/No space left on device|Disk quota exceeded/.test(at.message)) return true;
  }
  return false;
}

/** The applied state on disk is not what was written to it. */
export class AppliedDamageError extends Error {
  constructor(message: string) {
    super(`the applied state is damaged: ${message}`);
    this.name = 'AppliedDamageError';
  }
}

interface Meta {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly position: number;
}

function metaOf({ clusterId, nodeId, position }: Meta): Uint8Array {
  const fields = [clusterId, nodeId, position];
  return pack([FORMAT_VERSION, ...fields, crc32c(pack(fields))]);
}

function readMeta(bytes: Uint8Array): Meta {
  const [version, ...rest] = asDamage(() => asArray(unpack(bytes), 'applied state'));
  if (version !== FORMAT_VERSION) {
    const got = typeof version === 'number' ? version : 'unknown';
    throw new OperationError(
      `the applied state is of format ${got}, this program reads and writes format ${FORMAT_VERSION}`,
      { kind: 'conflict', code: 'other-format', got, accepted: `the program that wrote it, or a newer one` },
    );
  }
  const [clusterId, nodeId, position, checksum] = rest;
  if (checksum !== crc32c(pack([clusterId, nodeId, position]))) throw new AppliedDamageError('its position');
  return {
    clusterId: asText(clusterId, 'cluster id'),
    nodeId: asText(nodeId, 'node id'),
    position: asCount(position, 'position'),
  };
}

/** @returns undefined where they are of another position, as a program that does not know of them has written since */
function votersAt(position: number, noted: unknown): readonly number[] | undefined {
  if (noted === undefined) return undefined;
  const [notedAt, ...voters] = asDamage(() => asArray(noted, 'voters').map((n) => asCount(n, 'voter')));
  return notedAt === position ? voters : undefined;
}

/** A value, after a CRC32C over its key and itself. */
function seal(key: string, record: unknown): Uint8Array {
  const body = pack(record);
  const sealed = Buffer.alloc(CHECKSUM_BYTES + body.length);
  sealed.set(body, CHECKSUM_BYTES);
  sealed.writeUInt32BE(crc32c(body, crc32c(Buffer.from(key))));
  return sealed;
}

function unseal(key: string, sealed: Uint8Array): unknown {
  const { buffer, byteOffset, length } = sealed;
  const body = sealed.subarray(CHECKSUM_BYTES);
  const checksum = length < CHECKSUM_BYTES ? undefined : new DataView(buffer, byteOffset).getUint32(0);
  if (checksum !== crc32c(body, crc32c(Buffer.from(key)))) throw new AppliedDamageError(`record ${key}`);
  return asDamage(() => unpack(body));
}

function asDamage<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof ProtocolError ? new AppliedDamageError(error.message) : error;
  }
}

function withoutTables(state: ClusterState): object {
  const { nodes: _n, images: _i, clients: _c, portalGroups: _p, bootFiles: _b, ...rest } = state;
  return rest;
}

/** Unchanged records are the same objects, since nothing in the state is ever changed in place. */
function addChanges(
  changes: Change[],
  prefix: string,
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): void {
  if (before === after) return;
  for (const [name, record] of Object.entries(after)) {
    const key = prefix + name;
    if (before[name] !== record) changes.push({ type: 'put', key, value: seal(key, record) });
  }
  for (const name of Object.keys(before)) {
    if (!Object.hasOwn(after, name)) changes.push({ type: 'del', key: prefix + name });
  }
}
