/**
 * The port between a protocol that serves disks and what keeps their data. Logical blocks are 512 bytes,
 * as PC firmware and the images it boots expect; data is kept in 4 KiB blocks underneath.
 */
export const LOGICAL_BLOCK_BYTES = 512;

export interface BlockDevice {
  readonly lengthBlocks: number;
  /** Whether an acknowledged write may still be only in memory until flush (SBC-3 WCE). */
  readonly writeCacheEnabled: boolean;
  readonly readOnly: boolean;
  /** What takes the writes is nearly full: soon they may fail with "no-space". */
  readonly spaceIsLow: boolean;
  /**
   * Only committed data. The parts' lengths add up to the range; they are views that stay valid and
   * unchanged for as long as the caller holds them.
   * @throws DeviceError
   */
  read(lba: number, lengthBlocks: number): Promise<readonly Uint8Array[]>;
  /**
   * What read would resolve to, if it can be told at once; undefined where it cannot, for whatever reason. Most
   * reads of a shared image can, and waiting for a promise costs them more than the rest of the read.
   * @param memory what has to be copied lies there, where it is given, and is valid as long as its owner says
   */
  readNow?(lba: number, lengthBlocks: number, memory?: ReadMemory): readonly Uint8Array[] | undefined;
  /**
   * Resolves once every in-sync replica has the data (with `forceUnitAccess`: on stable storage).
   * `parts` add up to whole logical blocks and must not change until then.
   * @throws DeviceError; the blocks then hold the old or the new data, each block whole
   */
  write(lba: number, parts: readonly Uint8Array[], options: { forceUnitAccess: boolean }): Promise<void>;
  /**
   * Begins a write that has nothing to wait for before it is on its way. `parts` may change as soon as this returns;
   * `ended` is told how it ended, as write() would be settled, and never before this returns.
   * @returns false where write() has to do it, for whatever reason; nothing has happened then
   */
  beginWrite?(
    lba: number,
    parts: readonly Uint8Array[],
    options: { forceUnitAccess: boolean },
    ended: WriteEnded,
  ): boolean;
  /** Resolves once all acknowledged writes are on stable storage of every in-sync replica. */
  flush(): Promise<void>;
  /**
   * Gives the blocks up: they read as zeros, and whatever of them fills whole stored blocks takes no space any
   * more. Resolves as a write does.
   * @throws DeviceError; of the blocks some may then be zeros and some as they were
   */
  discard(lba: number, lengthBlocks: number): Promise<void>;
  /** Whether the block takes space, and for how many blocks from it on that is surely so (at least one). */
  allocation(lba: number): Promise<Allocation>;
  /**
   * What the device server keeps of this unit beside its blocks (reservations, mode parameters); undefined
   * until there is some. The same array as long as it has not changed.
   */
  readonly serverState: Uint8Array | undefined;
  /**
   * Replaces the server state as a whole. Resolves once it is on stable storage of every in-sync replica: a
   * node that serves the device later finds it there.
   * @param state at most MAX_SERVER_STATE_BYTES
   * @throws DeviceError
   */
  saveServerState(state: Uint8Array): Promise<void>;
}

/** Memory that is lent for one read. */
export interface ReadMemory {
  /** @returns so many bytes, whose content is stale */
  take(lengthBytes: number): Uint8Array;
}

/** Told how a write ended: without an error, or why not. */
export type WriteEnded = (error: DeviceError | undefined) => void;

export interface Allocation {
  readonly allocated: boolean;
  readonly lengthBlocks: number;
}

export const MAX_SERVER_STATE_BYTES = 65_536;
/** A write of no more logical blocks than this takes effect as a whole or not at all, whatever happens. */
export const MAX_ATOMIC_WRITE_BLOCKS = 1024;

export type DeviceErrorKind =
  | 'not-serving' // this node may not answer for the device any more; the session must go
  | 'out-of-range'
  | 'read-only'
  | 'no-space'
  | 'too-few-copies' // writes wait until more members are in sync, and have waited long enough
  | 'medium-error'; // the data is damaged here and was not repaired

export class DeviceError extends Error {
  readonly kind: DeviceErrorKind;
  /** The first logical block that is the reason, where that is known. */
  readonly lba: number | undefined;

  constructor(kind: DeviceErrorKind, message: string, options?: ErrorOptions & { readonly lba?: number }) {
    super(message, options);
    this.name = 'DeviceError';
    this.kind = kind;
    this.lba = options?.lba;
  }
}
