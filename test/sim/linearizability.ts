/**
 * Whether a history of operations is linearizable (Herlihy and Wing, "Linearizability: a correctness condition
 * for concurrent objects", 1990): whether each operation can be given one moment between its call and its
 * return, so that in the order of these moments every answer is the one the object would have given.
 *
 * The search is that of Wing and Gong with Lowe's memory of configurations already tried ("Testing for
 * linearizability", 2017), on each part of the object by itself (Horn and Kroening, "Faster linearizability
 * checking via P-compositionality", 2015).
 */

export interface Operation<Input, Output> {
  /** Whoever called it; for the reader of a failure. */
  readonly client: string;
  readonly input: Input;
  /** Undefined: the caller never learned what became of it. It may have happened at any time, or never. */
  readonly output: Output | undefined;
  /** Rises with time. No two stamps of one history are the same. */
  readonly calledAt: number;
  /** Infinity when the output is undefined. */
  readonly returnedAt: number;
}

export interface Model<State, Input, Output> {
  readonly initial: State;
  /**
   * @param output undefined: any
   * @returns the state afterwards, or undefined when the object would not have answered so
   */
  step(state: State, input: Input, output: Output | undefined): State | undefined;
  /** Equal for equal states. */
  stateKey(state: State): string;
}

export type Verdict<Input, Output> =
  | { readonly kind: 'linearizable' }
  | {
      readonly kind: 'violation';
      /** The operation whose return could not be explained, in the best attempt. */
      readonly stuckAt: Operation<Input, Output>;
      /** How many operations the best attempt had put in order before it. */
      readonly placed: number;
      /** The last of those, in their order. */
      readonly before: readonly Operation<Input, Output>[];
    }
  /** Given up; nothing was found out. */
  | { readonly kind: 'undecided' };

/** A call or a return, in a list from which an operation is taken out once it has been placed. */
interface Event<Input, Output> {
  readonly kind: 'call' | 'return' | 'end';
  readonly operation: Operation<Input, Output> | undefined;
  /** Number of the operation. */
  readonly id: number;
  /** Of a call: its return, if it has one. */
  match: Event<Input, Output> | undefined;
  previous: Event<Input, Output> | undefined;
  next: Event<Input, Output> | undefined;
}

interface Placed<State, Input, Output> {
  readonly event: Event<Input, Output>;
  readonly stateBefore: State;
}

/** Operations of the best attempt that a verdict shows. */
const SHOWN_OPERATIONS = 12;
const DEFAULT_MAX_STEPS = 2_000_000;

/** Splits a history by what its operations are about; the parts must have nothing to do with each other. */
export function partition<Input, Output>(
  history: readonly Operation<Input, Output>[],
  keyOf: (input: Input) => string,
): ReadonlyMap<string, readonly Operation<Input, Output>[]> {
  const parts = new Map<string, Operation<Input, Output>[]>();
  for (const operation of history) {
    const key = keyOf(operation.input);
    const part = parts.get(key);
    if (part === undefined) parts.set(key, [operation]);
    else part.push(operation);
  }
  return parts;
}

/** @param maxSteps placements to try before giving up */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  maxSteps = DEFAULT_MAX_STEPS,
): Verdict<Input, Output> {
  const head = eventsOf(history);
  const placedBits = new PlacedSet(history.length);
  const tried = new Set<string>();
  const stack: Placed<State, Input, Output>[] = [];
  let state = model.initial;
  let returnsLeft = history.filter((o) => o.returnedAt !== Number.POSITIVE_INFINITY).length;
  let best: { readonly stuckAt: Operation<Input, Output>; readonly order: readonly number[] } | undefined;
  let steps = 0;
  let event = head.next;
  while (returnsLeft > 0) {
    if (event?.kind === 'call') {
      const operation = event.operation as Operation<Input, Output>;
      const after = model.step(state, operation.input, operation.output);
      if (after === undefined || !isNew(tried, placedBits, event.id, model.stateKey(after))) {
        event = event.next;
        continue;
      }
      if (++steps > maxSteps) return { kind: 'undecided' };
      stack.push({ event, stateBefore: state });
      state = after;
      placedBits.flip(event.id);
      lift(event);
      if (event.match !== undefined) returnsLeft--;
      event = head.next;
      continue;
    }
    // A return whose operation has not been placed: some earlier choice was wrong.
    const stuckAt = event?.operation as Operation<Input, Output>;
    if (best === undefined || stack.length > best.order.length) {
      best = { stuckAt, order: stack.map((p) => p.event.id) };
    }
    const last = stack.pop();
    if (last === undefined) return violation(history, best);
    state = last.stateBefore;
    placedBits.flip(last.event.id);
    unlift(last.event);
    if (last.event.match !== undefined) returnsLeft++;
    event = last.event.next;
  }
  return { kind: 'linearizable' };
}

function violation<Input, Output>(
  history: readonly Operation<Input, Output>[],
  best: { readonly stuckAt: Operation<Input, Output>; readonly order: readonly number[] },
): Verdict<Input, Output> {
  const before = best.order.slice(-SHOWN_OPERATIONS).map((id) => history[id] as Operation<Input, Output>);
  return { kind: 'violation', stuckAt: best.stuckAt, placed: best.order.length, before };
}

/** Notes that these operations have been placed with this state as the outcome. @returns false: once before */
function isNew(tried: Set<string>, placed: PlacedSet, adding: number, stateKey: string): boolean {
  placed.flip(adding);
  const key = `${placed.key()}|${stateKey}`;
  placed.flip(adding);
  if (tried.has(key)) return false;
  tried.add(key);
  return true;
}

function eventsOf<Input, Output>(history: readonly Operation<Input, Output>[]): Event<Input, Output> {
  const events: { readonly at: number; readonly event: Event<Input, Output> }[] = [];
  const make = (kind: 'call' | 'return', operation: Operation<Input, Output>, id: number) => {
    const event = { kind, operation, id, match: undefined, previous: undefined, next: undefined };
    return event as Event<Input, Output>;
  };
  for (const [id, operation] of history.entries()) {
    const call = make('call', operation, id);
    events.push({ at: operation.calledAt, event: call });
    if (operation.returnedAt === Number.POSITIVE_INFINITY) continue;
    call.match = make('return', operation, id);
    events.push({ at: operation.returnedAt, event: call.match });
  }
  events.sort((a, b) => a.at - b.at);
  const head: Event<Input, Output> = {
    kind: 'end',
    operation: undefined,
    id: -1,
    match: undefined,
    previous: undefined,
    next: undefined,
  };
  let last = head;
  for (const { event } of events) {
    event.previous = last;
    last.next = event;
    last = event;
  }
  return head;
}

function lift<Input, Output>(call: Event<Input, Output>): void {
  takeOut(call);
  if (call.match !== undefined) takeOut(call.match);
}

function unlift<Input, Output>(call: Event<Input, Output>): void {
  if (call.match !== undefined) putBack(call.match);
  putBack(call);
}

function takeOut<Input, Output>(event: Event<Input, Output>): void {
  if (event.previous !== undefined) event.previous.next = event.next;
  if (event.next !== undefined) event.next.previous = event.previous;
}

function putBack<Input, Output>(event: Event<Input, Output>): void {
  if (event.previous !== undefined) event.previous.next = event;
  if (event.next !== undefined) event.next.previous = event;
}

/** Which operations have been placed. */
class PlacedSet {
  readonly #words: Uint32Array;

  constructor(size: number) {
    this.#words = new Uint32Array(Math.ceil(size / 32));
  }

  flip(id: number): void {
    const word = id >>> 5;
    this.#words[word] = (this.#words[word] as number) ^ (1 << (id & 31));
  }

  key(): string {
    return this.#words.join();
  }
}
