import { silentLogger } from '../../../base/logger.ts';
import { LogicalUnit } from '../../../node/scsi/logical-unit.ts';
import type { ScsiOutcome } from '../../../node/scsi/prepared-command.ts';
import { UnitState } from '../../../node/scsi/unit-state.ts';
import type { Server } from '../replication/clients.ts';

const IDENTITY = {
  serial: '0123456789ab',
  naa: Buffer.from('3000000000000001', 'hex'),
  vendor: 'BTFABRIC',
  product: 'disk',
  revision: '0001',
  targetName: 'iqn.2026-11.net.example:disk1',
};

/** Of memory that was given back: what has begun needs its data no more. */
const USED_AGAIN = 0xee;

export interface UnitCounters {
  add(name: string): void;
}

/** What one process keeps of the units that it serves, as node/iscsi does: the device server is the product's. */
export class UnitServer {
  readonly #server: Server;
  readonly #group: string;
  readonly #counters: UnitCounters;
  readonly #states = new Map<number, UnitState>();
  readonly #sessions = new Map<string, UnitSession>();

  constructor(server: Server, group: string, counters: UnitCounters) {
    this.#server = server;
    this.#group = group;
    this.#counters = counters;
  }

  /**
   * A login is answered only once the last command of the session that it replaces has left the device.
   * @returns undefined where the unit is not served
   */
  async login(lunId: number, port: string): Promise<UnitSession | undefined> {
    const key = `${lunId} ${port}`;
    await this.#sessions.get(key)?.close();
    const device = this.#server.host.group(this.#group)?.openDevice(lunId);
    if (device === undefined) return undefined;
    const options = { timers: this.#server.process, logger: silentLogger };
    const state = this.#states.get(lunId) ?? new UnitState(device, options);
    this.#states.set(lunId, state);
    const unit = new LogicalUnit({
      device,
      identity: IDENTITY,
      luns: [0],
      state,
      initiatorPort: port,
      logger: silentLogger,
    });
    const session = new UnitSession(unit, this.#counters, () => {
      if (this.#sessions.get(key) === session) this.#sessions.delete(key);
      const isLast = ![...this.#sessions.keys()].some((other) => other.startsWith(`${lunId} `));
      if (isLast) this.#states.delete(lunId);
    });
    this.#sessions.set(key, session);
    return session;
  }

  /** The group is served here no more: all sessions go, with nothing said. */
  close(): void {
    for (const session of this.#sessions.values()) void session.close();
  }
}

/** One initiator's session with one unit. */
export class UnitSession {
  readonly #unit: LogicalUnit;
  readonly #counters: UnitCounters;
  readonly #onEnd: () => void;
  readonly #running = new Set<Promise<unknown>>();
  /** Commands of an earlier one have been aborted. */
  #era = 0;
  #closing: Promise<void> | undefined;

  constructor(unit: LogicalUnit, counters: UnitCounters, onEnd: () => void) {
    this.#unit = unit;
    this.#counters = counters;
    this.#onEnd = onEnd;
    unit.onAbortTasks(() => this.#abort());
  }

  /** @returns undefined: nothing is said */
  async command(cdb: Uint8Array, dataOut: Uint8Array): Promise<ScsiOutcome | undefined> {
    if (this.#closing !== undefined) return undefined;
    const era = this.#era;
    const running = this.#carryOut(cdb, dataOut);
    const settled: Promise<unknown> = running.then(() => this.#running.delete(settled));
    this.#running.add(settled);
    const outcome = await running;
    if (era !== this.#era) return undefined;
    if (outcome.kind !== 'not-serving') return outcome;
    void this.close();
    return undefined;
  }

  #carryOut(cdb: Uint8Array, dataOut: Uint8Array): Promise<ScsiOutcome> {
    const unit = this.#unit;
    const prepared = unit.prepare(cdb, 0);
    const now = unit.runNow(prepared);
    if (now !== undefined) return Promise.resolve(now);
    if (prepared.kind !== 'write') return unit.run(prepared, [dataOut]);
    return new Promise((resolve, reject) => {
      if (unit.beginWrite(prepared, [dataOut], resolve)) {
        this.#counters.add('sim.unit-begun-writes');
        dataOut.fill(USED_AGAIN);
      } else {
        unit.run(prepared, [dataOut]).then(resolve, reject);
      }
    });
  }

  async #abort(): Promise<void> {
    this.#era++;
    await Promise.all(this.#running);
  }

  close(): Promise<void> {
    this.#closing ??= this.#abort().then(() => {
      this.#unit.detach();
      this.#onEnd();
    });
    return this.#closing;
  }
}
