import type { Socket } from 'node:net';
import type { Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import type { Logger } from '../../base/logger.ts';
import type { RandomSource } from '../../base/random.ts';
import type { IdlePolling } from './idle-polling.ts';
import type { PortalLimits } from './limits.ts';
import type { MemoryBudget } from './memory-budget.ts';
import type { KeptSocket, TargetDirectory } from './ports.ts';
import type { TargetSessions } from './target-sessions.ts';

/** What a portal needs of the world around it. */
export interface IscsiPortalOptions {
  readonly directory: TargetDirectory;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Makes CHAP challenges: unpredictable, but in tests. */
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly limits?: Partial<PortalLimits>;
  /** Shared with other portals of this node; its own, of `limits.memoryBytes`, unless given. */
  readonly budget?: MemoryBudget;
  /** Shared with other portals of this node by which the same targets are reached; its own unless given. */
  readonly targets?: TargetSessions;
  /** Of the thread; it sleeps as soon as it can where none is given. */
  readonly polling?: IdlePolling;
  /** A session has begun or ended. */
  readonly onSessionsChange?: () => void;
  /** Has somebody hold the socket of a session too; absent or undefined: nobody does. */
  readonly keep?: (socket: Socket) => KeptSocket | undefined;
}
