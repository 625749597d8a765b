/** A replicated key-value store of three processes on this machine, as the bench sees it. */
export interface SystemUnderTest {
  readonly name: string;
  /** Starts all three and waits until writes are taken. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Which of the three leads. @throws Error when nobody does */
  leader(): Promise<number>;
  /** A connection to one of the three (0 to 2), over which any number of requests may be under way. */
  connect(node: number): Promise<KeyValueConnection>;
  readonly pids: readonly number[];
  /** Since the start, over all three: calls of fdatasync or fsync for the log and for applied state. */
  syncs(): Promise<SyncCounts>;
  /** SIGKILL; resolves when the process is gone. */
  kill(node: number): Promise<void>;
  /** Starts a killed process again, on its own data. */
  restart(node: number): Promise<void>;
  /** Resolves once all three take part and agree on a leader. */
  whole(): Promise<void>;
}

export interface SyncCounts {
  readonly log: number;
}

export interface KeyValueConnection {
  /** Resolves when the value is durable on a majority and applied. */
  put(key: string, value: Uint8Array): Promise<void>;
  /** A linearizable read. */
  get(key: string): Promise<Uint8Array | undefined>;
  close(): void;
}

export const NODE_COUNT = 3;
