import { createServer, type Server, type Socket } from 'node:net';
import type { CancelTimer } from '../../base/clock.ts';
import { describeError, InvariantError } from '../../base/errors.ts';
import { LogicalUnit, type LogicalUnitOptions } from '../scsi/logical-unit.ts';
import { Connection } from './connection.ts';
import type { ConnectionHost } from './connection-host.ts';
import { decideDiscovery } from './discovery.ts';
import {
  DEFAULT_PORTAL_LIMITS,
  MAX_SEND_DATA_SEGMENT_BYTES,
  type PortalLimits,
  SHARED_READ_BYTES,
  SOCKET_READ_BUFFER_BYTES,
} from './limits.ts';
import type { CompletedLogin } from './login-events.ts';
import { type SessionParameters, sessionParameters } from './login-keys.ts';
import { type LoginStatus, loginStatus } from './login-status.ts';
import { sessionMemory } from './memory-budget.ts';
import type { IscsiPortalOptions } from './portal-options.ts';
import type { LoginDecision, LoginGranted, LoginRequestInfo, PortalAddress } from './ports.ts';
import { Session, type SessionOptions } from './session.ts';
import {
  isReplacedBy,
  joinedBy,
  type SessionInfo,
  type SessionRecord,
  sessionInfo,
} from './session-record.ts';
import { withSharedReads } from './shared-reads.ts';
import { TargetSessions } from './target-sessions.ts';

/** What a session begins with, beside what its login says. */
interface NewSession extends Pick<SessionOptions, 'tsih' | 'parameters' | 'firstCmdSN' | 'units'> {
  readonly sinceWallMs: number;
}

const ALIVE_CHECK_MS = 1000;
const MAX_TSIH = 0xffff;

/**
 * The iSCSI target of one node: listens, logs initiators in to the disks the directory grants them, and
 * carries their sessions. Knows nothing of where the blocks are kept.
 */
export class IscsiPortal {
  readonly #options: IscsiPortalOptions;
  readonly #limits: PortalLimits;
  /** Where what is read from any of the sockets lands. */
  readonly #readBuffer = new Uint8Array(SHARED_READ_BYTES);
  readonly #servers = new Set<Server>();
  /** Every open connection, with what cancels its login timeout. */
  readonly #connections = new Map<Connection, CancelTimer>();
  readonly #sessions = new Map<number, SessionRecord>();
  /** Sessions whose connection is gone and whose writes may still be under way. */
  readonly #ending = new Map<SessionRecord, Promise<void>>();
  readonly #targets: TargetSessions;
  readonly #host: ConnectionHost<Connection>;
  #nextTsih = 1;
  #cancelAliveCheck: CancelTimer | undefined;
  #closed = false;

  constructor(options: IscsiPortalOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_PORTAL_LIMITS, ...options.limits };
    this.#targets = options.targets ?? new TargetSessions(options);
    this.#host = {
      clock: options.clock,
      logger: options.logger,
      counters: options.counters,
      random: options.random,
      queueDepth: this.#limits.queueDepth,
      polling: options.polling,
      decideDiscovery: (initiator, targetName, localAddress) =>
        decideDiscovery(options.directory, initiator, targetName, localAddress),
      budget: options.budget ?? sessionMemory(this.#limits.memoryBytes),
      decide: (request) => this.#decide(request),
      joined: (named) => {
        const joined = joinedBy(named, this.#sessions.get(named.tsih));
        return typeof joined === 'number' ? joined : joined.session.commandNumbers;
      },
      establish: (connection, login) => this.#establish(connection, login),
      hasMoved: (targetName) => options.directory.hasMoved?.(targetName) === true,
      keep: (socket) => options.keep?.(socket),
      closed: (connection) => this.#onConnectionClosed(connection),
    };
    this.#scheduleAliveCheck();
  }

  /**
   * Starts to listen; may be called several times. Port 0 takes a free one.
   * @returns the address in use
   * @throws the system's error, such as EADDRINUSE or EADDRNOTAVAIL
   */
  listen(at: { readonly host: string; readonly port: number }): Promise<PortalAddress> {
    const server = createServer({ noDelay: true, highWaterMark: SOCKET_READ_BUFFER_BYTES }, (socket) =>
      this.#accept(socket),
    );
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: at.host, port: at.port }, () => {
        server.off('error', reject);
        server.on('error', (error) =>
          this.#options.logger.error('iscsi.listener.failed', { error: error.message }),
        );
        this.#servers.add(server);
        const address = server.address();
        const port = typeof address === 'object' && address !== null ? address.port : at.port;
        resolve({ address: at.host, port });
      });
    });
  }

  /** Stops listening at an address, as when the portal has moved; sessions stay until closeTarget. */
  async unlisten(at: PortalAddress): Promise<void> {
    for (const server of this.#servers) {
      const address = server.address();
      if (typeof address !== 'object' || address === null) continue;
      if (address.address !== at.address || address.port !== at.port) continue;
      this.#servers.delete(server);
      server.close();
    }
  }

  sessions(): SessionInfo[] {
    return Array.from(this.#sessions.values(), sessionInfo);
  }

  /**
   * Drops every connection to a target, logins under way included. Nothing more is answered, and the
   * initiators see the reset and come again at once.
   */
  closeTarget(targetName: string): void {
    for (const connection of this.#connections.keys()) {
      if (connection.targetName === targetName) connection.destroy('target-closed');
    }
  }

  /**
   * Tells the initiators of a target, those that can take it, that their connections are about to be dropped (RFC 7143
   * §11.9) because this node gives the target up of its own will, and that they may come again at once.
   */
  announceDrop(targetName: string): void {
    for (const connection of this.#connections.keys()) {
      if (connection.targetName === targetName) connection.announceDrop();
    }
  }

  /** Drops what was kept of a target while it was elsewhere, as when it has come back. */
  closeMoved(targetName: string): void {
    for (const connection of this.#connections.keys()) {
      if (connection.targetName === targetName && connection.hasMoved) connection.destroy('moved');
    }
  }

  /** Drops everything. Resolves once no session can change a block any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelAliveCheck?.();
    const servers = [...this.#servers].map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    for (const connection of this.#connections.keys()) {
      connection.announceDrop();
      connection.destroy('portal-closed');
    }
    // Not only once their sockets have closed, which is later.
    for (const [tsih, record] of this.#sessions) this.#endSession(tsih, record);
    await Promise.all(servers);
    await Promise.all(this.#ending.values());
    await this.#targets.close();
  }

  #accept(accepted: Socket): void {
    if (this.#closed || this.#connections.size >= this.#limits.maxConnections) {
      this.#options.counters.add('iscsi.connection.too-many');
      accepted.resetAndDestroy();
      return;
    }
    this.#options.counters.add('iscsi.connection.accepted');
    const connection = this.#connect(accepted);
    const cancelTimeout = this.#options.timers.setTimer(this.#limits.loginTimeoutMs, () => {
      if (connection.session === undefined) connection.destroy('login-timeout');
    });
    this.#connections.set(connection, cancelTimeout);
  }

  #connect(accepted: Socket): Connection {
    const shared = withSharedReads(accepted, this.#readBuffer, (bytes) => connection.received(bytes));
    const socket = shared ?? accepted;
    socket.setKeepAlive(true, this.#limits.tcpKeepAliveMs);
    const connection = new Connection(socket, this.#host, shared !== undefined);
    return connection;
  }

  /** What keeps the directory from deciding is for its logs; the initiator is told to come again. */
  async #decide(request: LoginRequestInfo): Promise<LoginDecision> {
    try {
      return await this.#options.directory.login(request);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#options.logger.error('iscsi.login.undecided', { ...request, error: describeError(error) });
      return { kind: 'refused', reason: 'unavailable' };
    }
  }

  async #establish(connection: Connection, login: CompletedLogin): Promise<Session | LoginStatus> {
    if (login.tsih !== 0) return this.#reinstateConnection(connection, login);
    // From the last look for a session to replace until the new one is in the table, nothing may be awaited:
    // of several logins with one name and ISID, each must see the one before.
    const replaced = (): SessionRecord[] => this.#replacedBy(login, connection);
    for (let old = replaced(); old.length > 0; old = replaced()) {
      if (!(await this.#endReplaced(old))) return loginStatus.outOfResources;
    }
    const tsih = this.#takeTsih();
    if (tsih === undefined || !this.#connections.has(connection)) return loginStatus.outOfResources;
    const { granted } = login;
    const parameters = sessionParameters(login.values, MAX_SEND_DATA_SEGMENT_BYTES);
    return this.#startSession(connection, login, {
      tsih,
      parameters,
      firstCmdSN: login.firstCmdSN,
      units: granted === undefined ? new Map() : this.#makeUnits(granted, login, parameters),
      sinceWallMs: this.#options.clock.wallMs(),
    });
  }

  #startSession(connection: Connection, login: CompletedLogin, made: NewSession): Session {
    const { granted, initiatorName } = login;
    const { tsih, sinceWallMs, ...rest } = made;
    const session: Session = new Session({
      initiatorName,
      targetName: granted?.targetName,
      discoveryTarget: login.discoveryTarget,
      isid: login.isid,
      tsih,
      cid: login.cid,
      ...rest,
      firstStatSN: login.nextStatSN,
      queueDepth: this.#limits.queueDepth,
      transport: connection,
      counters: this.#options.counters,
      memory: this.#host.budget.dataMemory,
      listTargets: () =>
        this.#options.directory.list({ initiatorName, sourceAddress: connection.sourceAddress }),
      sessionsOfTarget: () => this.#targets.of(granted?.targetName),
    });
    if (granted !== undefined) this.#targets.join(granted.targetName, session);
    this.#sessions.set(tsih, { session, connection, sinceWallMs });
    this.#options.onSessionsChange?.();
    this.#options.logger.info('iscsi.session.started', {
      initiatorName,
      targetName: granted?.targetName,
      remote: connection.remote,
    });
    return session;
  }

  /**
   * Connection reinstatement (RFC 7143 §6.3.4): at error recovery level 0 the tasks of the old connection end without a
   * response. The session goes on: its numbering, its keys, and what the initiator holds of its units.
   */
  async #reinstateConnection(connection: Connection, login: CompletedLogin): Promise<Session | LoginStatus> {
    const targetName = login.granted?.targetName;
    const joined = joinedBy({ ...login, targetName }, this.#sessions.get(login.tsih));
    if (typeof joined === 'number') return joined;
    const { session: old, sinceWallMs } = joined;
    const place: SessionRecord = { session: old, connection, sinceWallMs };
    this.#sessions.set(login.tsih, place);
    const closed = old.closeConnection();
    joined.connection.destroy('reinstated');
    const inTime = await this.#within(this.#limits.reinstatementTimeoutMs, closed);
    const isHeld = this.#sessions.get(login.tsih) === place && this.#connections.has(connection);
    // A login that makes a session anew may have come meanwhile.
    if (!inTime || !isHeld || this.#replacedBy(login, connection).length > 0) {
      void closed.then(() => old.detachUnits());
      if (isHeld) this.#endSession(login.tsih, place);
      return loginStatus.outOfResources;
    }
    const own = sessionParameters(login.values, MAX_SEND_DATA_SEGMENT_BYTES);
    const { headerDigest, dataDigest, maxSendDataSegmentBytes } = own;
    const session = this.#startSession(connection, login, {
      tsih: login.tsih,
      parameters: { ...old.options.parameters, headerDigest, dataDigest, maxSendDataSegmentBytes },
      firstCmdSN: old.commandNumbers.expCmdSN,
      units: old.options.units,
      sinceWallMs,
    });
    if (targetName !== undefined) this.#targets.leave(targetName, old);
    return session;
  }

  /**
   * Session reinstatement (RFC 7143 §6.3.5): a login with the name and ISID of a session of the same target
   * takes its place.
   */
  #replacedBy(login: CompletedLogin, connection: Connection): SessionRecord[] {
    return [...this.#sessions.values()].filter((record) => isReplacedBy(record, login, connection));
  }

  /** Ends sessions to their last write. @returns false when their writes did not end in time */
  #endReplaced(replaced: readonly SessionRecord[]): Promise<boolean> {
    for (const { connection } of replaced) connection.destroy('reinstated');
    const ending = Promise.all(replaced.map(({ session }) => session.close()));
    return this.#within(this.#limits.reinstatementTimeoutMs, ending);
  }

  #within(timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#options.timers.setTimer(timeoutMs, () => resolve(false));
      void work.then(() => {
        cancel();
        resolve(true);
      });
    });
  }

  #takeTsih(): number | undefined {
    if (this.#sessions.size >= MAX_TSIH) return undefined;
    while (this.#sessions.has(this.#nextTsih)) this.#nextTsih = (this.#nextTsih % MAX_TSIH) + 1;
    const tsih = this.#nextTsih;
    this.#nextTsih = (tsih % MAX_TSIH) + 1;
    return tsih;
  }

  #makeUnits(
    granted: LoginGranted,
    login: CompletedLogin,
    { protocolLevel }: SessionParameters,
  ): Map<number, LogicalUnit> {
    const identity = { ...granted.identity, targetName: granted.targetName };
    const luns = [...granted.luns.keys()].sort((a, b) => a - b);
    const initiatorPort = `${login.initiatorName},i,0x${login.isid}`;
    const { logger } = this.#options;
    const paths = granted.paths === undefined ? {} : { paths: granted.paths };
    const { forward: passOn } = granted;
    const forward: Pick<LogicalUnitOptions, 'forward'> =
      passOn === undefined ? {} : { forward: (cdb, dataOut) => passOn({ initiatorPort, cdb, dataOut }) };
    const copyUnit = (naa: Uint8Array) => this.#targets.unitSeenBy(login.initiatorName, naa);
    const units = new Map<number, LogicalUnit>();
    for (const [lun, device] of granted.luns) {
      const state = this.#targets.unit(granted.targetName, lun, device);
      units.set(
        lun,
        new LogicalUnit({
          device,
          identity,
          luns,
          state,
          initiatorPort,
          protocolLevel,
          logger,
          copyUnit,
          ...paths,
          ...forward,
        }),
      );
    }
    return units;
  }

  #onConnectionClosed(connection: Connection): void {
    this.#connections.get(connection)?.();
    this.#connections.delete(connection);
    for (const [tsih, record] of this.#sessions) {
      if (record.connection !== connection) continue;
      this.#endSession(tsih, record);
    }
  }

  /** The record stays until the last write has ended, so that a reinstating login still finds it. */
  #endSession(tsih: number, record: SessionRecord): void {
    if (this.#ending.has(record)) return;
    const { session } = record;
    const { initiatorName, targetName } = session.options;
    const ended = session.close().then(() => {
      this.#sessions.delete(tsih);
      this.#options.onSessionsChange?.();
      this.#ending.delete(record);
      if (targetName !== undefined) this.#targets.leave(targetName, session);
      this.#options.logger.info('iscsi.session.ended', { initiatorName, targetName, ...session.traffic });
    });
    this.#ending.set(record, ended);
  }

  #scheduleAliveCheck(): void {
    this.#cancelAliveCheck = this.#options.timers.setTimer(ALIVE_CHECK_MS, () => {
      const nowMs = this.#options.clock.monotonicMs();
      for (const connection of this.#connections.keys()) {
        connection.checkAlive(nowMs, this.#limits);
      }
      this.#scheduleAliveCheck();
    });
  }
}
