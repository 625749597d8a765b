import type { LoggedRecord } from '../lun/log-record.ts';
import type { BackupState } from './backup-state.ts';
import type { ReplicaCore } from './core.ts';
import { JOIN_DISTANCE_RECORDS } from './limits.ts';
import { CLIENTS, type Clients } from './pace-lane.ts';

/** Far from the end of the primary's log, and waited for by nobody: neither in the set nor on the way into it. */
function isTakingIn({ core, heard, alignedReign }: BackupState): boolean {
  if (heard === undefined || alignedReign !== heard.reign || !isOutside(core)) return false;
  // One whose joining is proposed is nearer than that, and stays so: nothing is committed then that it lacks.
  return heard.commitIndex > core.log.appendedIndex + JOIN_DISTANCE_RECORDS;
}

function isOutside({ told, epoch }: ReplicaCore): boolean {
  return told.epoch >= epoch && !told.inSync;
}

export function noteTaken(state: BackupState, records: readonly LoggedRecord[]): void {
  if (!isTakingIn(state)) return;
  let lengthBytes = 0;
  for (const { payload } of records) lengthBytes += payload.length;
  state.core.pace.taking.use(lengthBytes);
}

/**
 * How much of the log is acknowledged. A primary sends no more than a window beyond that, so one that is told less for a while sends
 * less. Whoever is waited for says all.
 * @param nextIndex where the log ends
 */
export function indexToSay(state: BackupState, nextIndex: number): number {
  const { takingIn } = state;
  const { saidIndex } = takingIn;
  const mayHold = saidIndex !== undefined && saidIndex < nextIndex && isTakingIn(state);
  takingIn.isHolding = mayHold && !state.core.pace.taking.isOpen;
  if (takingIn.isHolding && saidIndex !== undefined) return saidIndex;
  takingIn.saidIndex = nextIndex;
  return nextIndex;
}

/**
 * At each tick: tells the node how clients fare with this member, and how far behind it is.
 * @returns whether what was held back is to be said now
 */
export function followTaking(state: BackupState, nowMs: number): boolean {
  const { core, takingIn, heard } = state;
  const clients = howClientsFare(state);
  takingIn.pacedIndex = core.log.nextIndex;
  if (isTakingIn(state)) {
    core.pace.taking.follow((heard?.commitIndex ?? 0) - core.log.appendedIndex, nowMs);
  } else {
    core.pace.taking.rest();
  }
  core.pace.sending.rest();
  core.pace.tick(clients, core.catchUpBytesPerSecond, nowMs);
  return takingIn.isHolding && core.pace.taking.isOpen;
}

/** Their writes wait for members in the set. */
function howClientsFare({ core, takingIn }: BackupState): Clients {
  if (isOutside(core)) return CLIENTS.idle;
  if (core.log.appendedIndex < takingIn.pacedIndex) return CLIENTS.wait;
  return core.log.nextIndex > takingIn.pacedIndex ? CLIENTS.write : CLIENTS.idle;
}
