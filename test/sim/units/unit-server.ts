import { silentLogger } from '../../../base/logger.ts';
import { LogicalUnit } from '../../../node/scsi/logical-unit.ts';
import { UnitState } from '../../../node/scsi/unit-state.ts';
import type { BlockDevice } from '../../../storage/block-device.ts';
import type { Server } from '../replication/clients.ts';
import { UnitSession } from './unit-session.ts';

const IDENTITY = {
  serial: '0123456789ab',
  naa: Buffer.from('3000000000000001', 'hex'),
  vendor: 'BTFABRIC',
  product: 'disk',
  revision: '0001',
  targetName: 'iqn.2026-11.net.example:disk1',
};

export interface UnitCounters {
  add(name: string): void;
}

export interface UnitServerOptions {
  readonly server: Server;
  readonly group: string;
  readonly counters: UnitCounters;
  /** What initiators have under way on a unit is about to be aborted, since `by` preempts them. */
  readonly onAbortOthers: (lunId: number, ports: ReadonlySet<string>, by: string) => void;
}

/** What one process keeps of the units that it serves, as node/iscsi does: the device server is the product's. */
export class UnitServer {
  readonly #options: UnitServerOptions;
  readonly #states = new Map<number, UnitState>();
  readonly #sessions = new Map<string, UnitSession>();

  constructor(options: UnitServerOptions) {
    this.#options = options;
  }

  /**
   * A login is answered only once the last command of the session that it replaces has left the device.
   * @returns undefined where the unit is not served
   */
  async login(lunId: number, port: string): Promise<UnitSession | undefined> {
    const key = `${lunId} ${port}`;
    await this.#sessions.get(key)?.close();
    const { server, group, counters } = this.#options;
    const device = server.host.group(group)?.openDevice(lunId);
    if (device === undefined) return undefined;
    const state = this.#states.get(lunId) ?? this.#newState(lunId, device);
    this.#states.set(lunId, state);
    const unit = new LogicalUnit({
      device,
      identity: IDENTITY,
      luns: [0],
      state,
      initiatorPort: port,
      logger: silentLogger,
    });
    const beginWrite = unit.beginWrite.bind(unit);
    unit.beginWrite = (...given) => {
      const hasBegun = beginWrite(...given);
      if (hasBegun) counters.add('sim.unit-begun-writes');
      return hasBegun;
    };
    const session = new UnitSession(unit, () => {
      if (this.#sessions.get(key) === session) this.#sessions.delete(key);
      const isLast = ![...this.#sessions.keys()].some((other) => other.startsWith(`${lunId} `));
      if (isLast) this.#states.delete(lunId);
    });
    this.#sessions.set(key, session);
    return session;
  }

  #newState(lunId: number, device: BlockDevice): UnitState {
    const { server, onAbortOthers } = this.#options;
    const state = new UnitState(device, { timers: server.process, logger: silentLogger });
    const abortTasksOf = state.abortTasksOf.bind(state);
    state.abortTasksOf = (ports, but) => {
      onAbortOthers(lunId, ports, but.port);
      return abortTasksOf(ports, but);
    };
    return state;
  }

  /** The group is served here no more: all sessions go, with nothing said. */
  close(): void {
    for (const session of this.#sessions.values()) void session.close();
  }
}
