import type { Operation } from '../linearizability.ts';
import type { Ending } from './unit-commands.ts';
import type { Step } from './unit-users.ts';

export type AnyOperation = Operation<unknown, unknown>;

/** What initiators have asked of one unit, and what they were told. */
export class UnitHistory {
  readonly #operations: AnyOperation[] = [];
  #stamp = 0;

  asked(client: string, step: Step<unknown, unknown>): AskedStep {
    const index = this.#operations.length;
    const note = (input: unknown): void => {
      const calledAt = ++this.#stamp;
      this.#operations.push({
        client,
        input,
        output: undefined,
        calledAt,
        returnedAt: Number.POSITIVE_INFINITY,
      });
    };
    note(step.input);
    if (step.effect !== undefined) note(step.effect);
    return new AskedStep(step, index, this.#operations, () => ++this.#stamp, client);
  }

  /** Without what is known not to have been done. */
  operations(): readonly AnyOperation[] {
    return this.#operations.filter(({ input }) => input !== undefined);
  }
}

/** One command of an initiator, from when it is asked for until it is answered, aborted or given up. */
export class AskedStep {
  readonly #step: Step<unknown, unknown>;
  readonly #index: number;
  readonly #operations: AnyOperation[];
  readonly #stamp: () => number;
  readonly #client: string;

  constructor(
    step: Step<unknown, unknown>,
    index: number,
    operations: AnyOperation[],
    stamp: () => number,
    client: string,
  ) {
    this.#step = step;
    this.#index = index;
    this.#operations = operations;
    this.#stamp = stamp;
    this.#client = client;
  }

  answered(ending: Exclude<Ending, { kind: 'unknown' }>): void {
    if (ending.kind === 'not-done') {
      this.#change(0, { input: undefined });
      if (this.#step.effect !== undefined) this.#change(1, { input: undefined });
      return;
    }
    const output = this.#step.understand(ending);
    this.#change(0, { output, returnedAt: this.#stamp() });
    if (this.#step.effect === undefined) return;
    this.#change(1, ending.kind === 'good' ? { output, returnedAt: this.#stamp() } : { input: undefined });
  }

  /** ABORT TASK is on its way. @returns to be called once it has been answered, and nothing else will be */
  aborting(): () => void {
    const calledAt = this.#stamp();
    const { ended } = this.#step;
    return () => {
      const returnedAt = this.#stamp();
      const client = this.#client;
      if (ended !== undefined)
        this.#operations.push({ client, input: ended, output: 'good', calledAt, returnedAt });
    };
  }

  #change(at: number, what: Partial<AnyOperation>): void {
    const index = this.#index + at;
    this.#operations[index] = { ...(this.#operations[index] as AnyOperation), ...what };
  }
}
