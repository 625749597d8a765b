/** Task attributes (RFC 7143 §11.3.1): in which order tasks of one session on one logical unit may begin (SAM-5 §8.6). */
export const taskAttribute = { untagged: 0, simple: 1, ordered: 2, headOfQueue: 3, aca: 4 } as const;

export interface AttributedTask {
  readonly lun: number;
  readonly attribute: number;
}

/** Those of a session's tasks that may not begin before others have ended. */
export class TaskOrder<T extends AttributedTask> {
  readonly #tasks: () => Iterable<T>;
  readonly #waiting = new Set<T>();
  #orderedCount = 0;

  /** @param tasks those that have not ended, the oldest first */
  constructor(tasks: () => Iterable<T>) {
    this.#tasks = tasks;
  }

  entered(task: T): void {
    if (task.attribute === taskAttribute.ordered) this.#orderedCount++;
  }

  left(task: T): void {
    if (task.attribute === taskAttribute.ordered) this.#orderedCount--;
    this.#waiting.delete(task);
  }

  /** Whether it has to wait; then it is among those that takeWaiting() gives out. */
  holdsBack(task: T): boolean {
    if (this.#orderedCount === 0 || !hasToWait(task, this.#tasks())) return false;
    this.#waiting.add(task);
    return true;
  }

  /** All that wait, to be looked at again since a task has left. */
  takeWaiting(): Iterable<T> {
    if (this.#waiting.size === 0) return [];
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    return waiting;
  }
}

/**
 * Whether an older task has to end before this one may begin: an ordered one begins after all that came before it and
 * ends before all that come after it. One for the head of the queue waits for none.
 * @param tasks those that have not ended, this one among them, the oldest first
 */
export function hasToWait(task: AttributedTask, tasks: Iterable<AttributedTask>): boolean {
  if (task.attribute === taskAttribute.headOfQueue) return false;
  const isOrdered = task.attribute === taskAttribute.ordered;
  for (const older of tasks) {
    if (older === task) return false;
    if (older.lun === task.lun && (isOrdered || older.attribute === taskAttribute.ordered)) return true;
  }
  return false;
}
