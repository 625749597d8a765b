import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import type { Logger } from '../../base/logger.ts';
import type { RandomSource } from '../../base/random.ts';
import type { IdlePolling } from './idle-polling.ts';
import type { CommandNumbers, CompletedLogin, DiscoveryGranted, NamedConnection } from './login-events.ts';
import type { LoginStatus } from './login-status.ts';
import type { MemoryBudget } from './memory-budget.ts';
import type { InitiatorIdentity, KeptSocket, LoginDecision, LoginRequestInfo } from './ports.ts';
import type { Session } from './session.ts';

/** What a connection asks of the portal it came by. `C` is the connection. */
export interface ConnectionHost<C> {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
  /** Memory shared by all connections of the portal. */
  readonly budget: MemoryBudget;
  readonly random: RandomSource;
  /** Of each session; PortalLimits.queueDepth. */
  readonly queueDepth: number;
  readonly polling?: IdlePolling | undefined;
  decide(request: LoginRequestInfo): Promise<LoginDecision>;
  /** @param targetName where the session is to be about one target @param localAddress "ADDRESS:PORT" it came to */
  decideDiscovery(
    initiator: InitiatorIdentity,
    targetName: string | undefined,
    localAddress: string,
  ): DiscoveryGranted;
  /** The numbering of the session whose connection a login is to replace, or why it may not. */
  joined(named: NamedConnection): CommandNumbers | LoginStatus;
  /** Makes the session of a finished login, once what it replaces has ended; else says why it cannot. */
  establish(connection: C, login: CompletedLogin): Promise<Session | LoginStatus>;
  /** Whether a target that is not served here is by now at the same address elsewhere. */
  hasMoved(targetName: string): boolean;
  /** Has the socket held by somebody else as well, so that its connection outlives this process; undefined: nobody does. */
  keep(socket: Socket): KeptSocket | undefined;
  /** Called once, after the socket has closed. */
  closed(connection: C): void;
}
