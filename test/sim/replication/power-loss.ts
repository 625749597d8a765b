import { findViolation, type Operation } from './history.ts';

/**
 * The values that a sector may have after all copies of it have lost their power: those of all writes that were not
 * certainly followed by one that is on stable storage.
 * @param before what it may have had at an earlier loss of power, if there was one
 */
export function mayHaveSurvived(
  history: readonly Operation[],
  before: ReadonlySet<number> | undefined,
): ReadonlySet<number> {
  const writes = history.filter((operation) => operation.kind === 'write');
  const durable = writes.filter((operation) => operation.isDurable === true);
  const left = writes.filter((write) => !durable.some((other) => other.invokedMs > write.respondedMs));
  const values = new Set(left.map(({ value }) => value));
  if (durable.length > 0) return values;
  // Whatever was there at first may be there again.
  if (before === undefined) values.add(Number.NaN);
  else for (const value of before) values.add(value);
  return values;
}

/**
 * What is wrong with a history that began after such a loss, by which one value of `survivors` was left; NaN among
 * them stands for a sector that had never been written.
 */
export function findViolationAfterPowerLoss(
  history: readonly Operation[],
  survivors: ReadonlySet<number>,
): string | undefined {
  const written = new Set(history.filter(({ kind }) => kind === 'write').map(({ value }) => value));
  const old = new Set(
    history.filter(({ kind, value }) => kind === 'read' && !written.has(value)).map(({ value }) => value),
  );
  const [value, another] = old;
  if (value === undefined) return findViolation(history);
  if (another !== undefined)
    return `${value} and ${another}, both from before power was lost, were read after it`;
  if (!survivors.has(value)) {
    return `value ${value} is there after a loss of power, though a later one had been flushed`;
  }
  const first: Operation = { kind: 'write', value, invokedMs: -1, respondedMs: 0 };
  return findViolation([first, ...history]);
}
