import type { LogCorruptionError, RecordLog } from '../base/record-log.ts';

/** Stands for a log that could not be opened since what was durable in it is damaged: every use says so. */
export function unreadableLog(damage: LogCorruptionError): RecordLog {
  const refuse = (): Promise<never> => Promise.reject(damage);
  return {
    firstIndex: 0,
    nextIndex: 1,
    durableNextIndex: 1,
    append: refuse,
    sync: refuse,
    read: refuse,
    async *scan() {
      yield* [];
      throw damage;
    },
    readAt: refuse,
    truncateFrom: refuse,
    trimBefore: refuse,
    resetTo: refuse,
    close: () => Promise.resolve(),
  };
}
