import { crc32c } from '../../base/crc32c.ts';
import type { RecordLog } from '../../base/record-log.ts';

/** What a log must hold, or may, after all that was asked of it and a loss of power. */
export interface Expected {
  /** Records before this one may have been trimmed. */
  readonly trimmedBefore: number;
  /** Number of the first of `payloads`. */
  readonly start: number;
  readonly payloads: readonly string[];
  readonly durableNext: number;
}

export type Step =
  | { readonly do: 'append'; readonly sizes: readonly number[]; readonly atOnce: boolean }
  | { readonly do: 'sync' }
  | { readonly do: 'truncate' | 'trim'; readonly at: number }
  | { readonly do: 'reset'; readonly to: number };

export function nextOf(expected: Expected): number {
  return expected.start + expected.payloads.length;
}

let serial = 0;

/** No two are the same, as far as they are long enough. */
function payload(size: number): string {
  return `${serial++}:`.padEnd(size, 'x').slice(0, Math.max(size, 0));
}

/** Makes the call, and says what is to be expected once it has succeeded. */
export function carryOut(
  log: RecordLog,
  step: Step,
  now: Expected,
  fresh: (sizeBytes: number) => string = payload,
): { done: Promise<unknown>; after: Expected } {
  switch (step.do) {
    case 'append': {
      const payloads = step.sizes.map(fresh);
      const records = payloads.map((p) => Buffer.from(p));
      const checksums = records.map((record, i) => (i % 2 === 0 ? crc32c(record) : undefined));
      const appended = step.atOnce ? log.appendNow?.(records, checksums) : undefined;
      const done = appended === undefined ? log.append(records, checksums) : Promise.resolve(appended);
      return { done, after: { ...now, payloads: [...now.payloads, ...payloads] } };
    }
    case 'sync':
      return { done: log.sync(), after: { ...now, durableNext: nextOf(now) } };
    case 'truncate': {
      const at = log.firstIndex + (step.at % (nextOf(now) - log.firstIndex + 1));
      const isNothing = at === nextOf(now);
      const payloads = now.payloads.slice(0, at - now.start);
      const after = isNothing ? now : { ...now, payloads, durableNext: at };
      return { done: log.truncateFrom(at), after };
    }
    case 'trim': {
      const at = now.start + (step.at % (now.payloads.length + 1));
      const after = { ...now, trimmedBefore: Math.max(at, now.trimmedBefore) };
      return { done: log.trimBefore(at), after };
    }
    case 'reset': {
      const after = { trimmedBefore: step.to, start: step.to, payloads: [], durableNext: step.to };
      return { done: log.resetTo(step.to), after };
    }
  }
}

export async function readAll(log: RecordLog): Promise<string[]> {
  const found: string[] = [];
  for await (const { index, payload, position } of log.scan(log.firstIndex)) {
    const readings = [await log.read(index), await log.readAt(position, payload.length)];
    const atOnce = new Uint8Array(payload.length);
    if (log.readAtNow?.(position, atOnce) === true) readings.push(atOnce);
    const isSame = readings.every((reading) => Buffer.compare(reading, payload) === 0);
    if (index !== log.firstIndex + found.length || !isSame)
      throw new Error(`record ${index} is read in two ways`);
    found.push(Buffer.from(payload).toString());
  }
  return found;
}

/** @returns what was wrong, or undefined when the log is what `expected` allows after a crash */
export function mismatch(log: RecordLog, found: readonly string[], expected: Expected): string | undefined {
  if (log.firstIndex < expected.start || log.firstIndex > expected.trimmedBefore) {
    if (log.firstIndex !== expected.start) return `first index ${log.firstIndex}`;
  }
  if (log.nextIndex < expected.durableNext) return `${log.nextIndex} < durable ${expected.durableNext}`;
  if (log.nextIndex > nextOf(expected)) return `${log.nextIndex} > written ${nextOf(expected)}`;
  for (const [i, value] of found.entries()) {
    const index = log.firstIndex + i;
    if (value !== expected.payloads[index - expected.start])
      return `record ${index} is ${value.slice(0, 20)}`;
  }
  return undefined;
}
