import { dataOutBytes, type ScsiOutcome } from '../scsi/prepared-command.ts';
import type { Task } from './task.ts';

/** Commands and bytes a session has carried. */
export interface Traffic {
  reads: number;
  writes: number;
  readBytes: number;
  writtenBytes: number;
}

/** Adds a command that has ended. */
export function countTraffic(traffic: Traffic, { command, commandBytes }: Task, outcome: ScsiOutcome): void {
  if (outcome.kind !== 'good') return;
  if (command.kind === 'read') {
    traffic.reads++;
    traffic.readBytes += commandBytes;
  } else if (command.kind === 'write') {
    traffic.writes++;
    traffic.writtenBytes += dataOutBytes(command);
  }
}
