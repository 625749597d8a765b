import { expect, it } from 'vitest';
import { AppliedStore, type StateDatabase } from '../../../cluster/applied-store.ts';
import { encodeCommand } from '../../../cluster/command-codec.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { STATE_VERSIONS } from '../../../cluster/state/versions.ts';
import { StateMachine } from '../../../cluster/state-machine.ts';
import { SimulatedDatabase } from '../../sim/cluster/database.ts';
import { addClient, runningCluster } from './state/fixtures.ts';

const PATIENCE = { timeout: 20_000, interval: 5 };
const OWNER = { clusterId: 'c-1', nodeId: 'n1' };
/** Fires at once, so that what is tried again is tried soon. */
const timers = {
  setTimer: (_delayMs: number, fire: () => void) => {
    const timer = setTimeout(fire, 1);
    return () => clearTimeout(timer);
  },
};

/** LevelDB's words for a full disk, and its refusal of everything afterwards until it is opened anew. */
class FullDatabase implements StateDatabase {
  readonly #inner: StateDatabase;
  isFull = false;
  /** Whether a write that fails is carried out all the same. */
  writesAnyway = false;
  #isBroken = false;
  opened = 0;
  /** To open it or to write. */
  attempts = 0;

  constructor(inner: StateDatabase) {
    this.#inner = inner;
  }

  async open(): Promise<void> {
    this.attempts++;
    if (this.isFull) {
      throw new Error('Database failed to open', {
        cause: new Error('IO error: /d/000007.dbtmp: No space left on device'),
      });
    }
    this.#isBroken = false;
    this.opened++;
    await this.#inner.open();
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#inner.get(key);
  }

  iterator(): AsyncIterable<[string, Uint8Array]> {
    return this.#inner.iterator();
  }

  async batch(...args: Parameters<StateDatabase['batch']>): Promise<void> {
    this.attempts++;
    if (this.#isBroken) throw new Error('IO error: an earlier write failed');
    if (!this.isFull) return await this.#inner.batch(...args);
    this.#isBroken = true;
    if (this.writesAnyway) await this.#inner.batch(...args);
    throw new Error('IO error: /d/000003.log: No space left on device');
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

for (const writesAnyway of [false, true]) {
  it(`goes on without space for the applied state and writes it later (the write that failed is ${writesAnyway ? '' : 'not '}there)`, async () => {
    const database = new FullDatabase(new SimulatedDatabase().mount(() => Promise.resolve()));
    const store = new AppliedStore(database, OWNER);
    const persisted: number[] = [];
    const failures: unknown[] = [];
    let timesFull = 0;
    const machine = await StateMachine.load(store, runningCluster(), {
      timers,
      persisted: (position) => persisted.push(position),
      diskFull: () => timesFull++,
      failed: (error) => failures.push(error),
    });
    const apply = (position: number, command: Command): void =>
      machine.apply([{ position, bytes: encodeCommand(command, STATE_VERSIONS), awaited: false }], position);
    apply(1, addClient('pc-1', '52:54:00:00:00:01'));
    await expect.poll(() => persisted, PATIENCE).toEqual([1]);
    database.isFull = true;
    database.writesAnyway = writesAnyway;
    apply(2, addClient('pc-2', '52:54:00:00:00:02'));
    await expect.poll(() => database.attempts, PATIENCE).toBeGreaterThan(3);
    apply(3, { type: 'removeClient', name: 'pc-2' });
    const before = database.attempts;
    await expect.poll(() => database.attempts, PATIENCE).toBeGreaterThan(before + 1);
    expect(Object.keys(machine.state.clients), 'it applies all the while').toEqual(['pc-1']);
    expect(persisted, 'but the log keeps what is not written').toEqual([1]);
    expect(timesFull).toBe(1);
    database.isFull = false;
    await expect.poll(() => persisted, PATIENCE).toEqual([1, 3]);
    expect(database.opened).toBe(1);
    expect(failures).toEqual([]);
    await machine.stop();
    expect(await store.load()).toEqual({ position: 3, state: machine.state });
  });
}
