import type { Model } from '../linearizability.ts';

/** Blocks that initiators change by COMPARE AND WRITE, one of them by WRITE as well, and one range that is written by WRITE ATOMIC. */
export type CellInput =
  | { readonly kind: 'read'; readonly at: CellPlace }
  | { readonly kind: 'write'; readonly at: CellPlace; readonly value: number }
  | { readonly kind: 'swap'; readonly at: CellPlace; readonly from: number; readonly to: number }
  /** What would have written that value has been aborted: from then on it has done so, or it never will. */
  | { readonly kind: 'ended'; readonly at: CellPlace; readonly value: number };
export type CellPlace = 'cell' | 'written' | 'range';
/** What a read found, or how the rest ended. */
export type CellOutput = number | 'good' | 'differs';

export interface Cell {
  readonly value: number;
  /** Values of aborted commands. */
  readonly ended: readonly number[];
}

/** @param initial what is there at first */
export function cellModel(initial: number): Model<Cell, CellInput, CellOutput> {
  return {
    initial: { value: initial, ended: [] },
    step: (state, input, output) => {
      const { value, ended } = state;
      switch (input.kind) {
        case 'read':
          return output === undefined || output === value ? state : undefined;
        case 'write':
          return ended.includes(input.value) ? undefined : { ...state, value: input.value };
        case 'ended':
          return { ...state, ended: [...ended, input.value] };
        case 'swap': {
          const isAsExpected = input.from === value;
          if (isAsExpected && ended.includes(input.to)) return undefined;
          // What is not known to have happened, and would have changed nothing, need not have.
          if (output === undefined) return isAsExpected ? { ...state, value: input.to } : undefined;
          if ((output === 'good') !== isAsExpected) return undefined;
          return output === 'good' ? { ...state, value: input.to } : state;
        }
      }
    },
    stateKey: ({ value, ended }) => `${value} ${[...ended].sort((a, b) => a - b).join(' ')}`,
  };
}

/** Persistent reservations, and one block that they guard (SPC-4 §5.13). `by` and `victim` are initiators. */
export type ReserveInput =
  | { readonly kind: 'register' | 'unregister' | 'read' | 'status'; readonly by: string }
  | { readonly kind: 'clear'; readonly by: string }
  | { readonly kind: 'reserve' | 'release'; readonly by: string; readonly type: number }
  | { readonly kind: 'preempt'; readonly by: string; readonly victim: string; readonly type: number }
  /** The end of that: nothing of what the victim had begun is still under way. */
  | { readonly kind: 'abort'; readonly by: string }
  /** A write in its two steps: what it finds of reservations as it begins counts, and not what comes before it has ended. */
  | { readonly kind: 'write' | 'effect'; readonly by: string; readonly value: number }
  /** That write has been aborted: from then on it has taken effect, or it never will. */
  | { readonly kind: 'ended'; readonly by: string; readonly value: number };
/** What a read found, what is reported as by `describeReservation`, or how the rest ended. */
export type ReserveOutput = number | string;

export const WRITE_EXCLUSIVE = 1;
export const EXCLUSIVE_ACCESS = 3;

export interface Reserved {
  readonly registered: readonly string[];
  readonly holder: string | undefined;
  readonly type: number;
  readonly value: number;
  /** Writes that have begun and not taken effect. */
  readonly begun: readonly Begun[];
  /** Values of aborted writes. */
  readonly ended: readonly number[];
}

interface Begun {
  readonly by: string;
  readonly value: number;
  /** Whose preemption ends it. */
  readonly endedBy?: string;
}

export function describeReservation({
  registered,
  holder,
  type,
}: Pick<Reserved, 'registered' | 'holder' | 'type'>): string {
  const held = holder === undefined ? 'free' : `held by ${holder} as ${type}`;
  return `${[...registered].sort().join(' ')}: ${held}`;
}

export function reserveModel(initial: number): Model<Reserved, ReserveInput, ReserveOutput> {
  return {
    initial: { registered: [], holder: undefined, type: 0, value: initial, begun: [], ended: [] },
    step: (state, input, output) => {
      const [after, answer] = carryOut(state, input);
      if (output !== undefined) return output === answer ? after : undefined;
      return keyOf(after) === keyOf(state) ? undefined : after;
    },
    stateKey: keyOf,
  };
}

function keyOf(state: Reserved): string {
  const begun = state.begun.map(({ value, endedBy = '' }) => `${value}${endedBy}`).sort();
  const ended = [...state.ended].sort((a, b) => a - b).join(' ');
  return `${describeReservation(state)} ${state.value} ${begun.join(' ')} ${ended}`;
}

function carryOut(state: Reserved, input: ReserveInput): readonly [Reserved, ReserveOutput] {
  const { registered, holder, type, value } = state;
  const { by } = input;
  const others = registered.filter((each) => each !== by);
  switch (input.kind) {
    case 'register':
      return [{ ...state, registered: [...others, by] }, 'good'];
    case 'unregister':
      return [{ ...state, registered: others, holder: holder === by ? undefined : holder }, 'good'];
    case 'read':
      return [state, holder !== undefined && holder !== by && type === EXCLUSIVE_ACCESS ? 'conflict' : value];
    case 'write':
      if (holder !== undefined && holder !== by) return [state, 'conflict'];
      if (state.ended.includes(input.value)) return [state, 'aborted'];
      return [{ ...state, begun: [...state.begun, { by, value: input.value }] }, 'good'];
    case 'effect':
      if (state.begun.every((write) => write.value !== input.value)) return [state, 'aborted'];
      return [
        { ...state, value: input.value, begun: state.begun.filter((write) => write.value !== input.value) },
        'good',
      ];
    case 'ended': {
      const begun = state.begun.filter((write) => write.value !== input.value);
      return [{ ...state, begun, ended: [...state.ended, input.value] }, 'good'];
    }
    case 'abort':
      return [{ ...state, begun: state.begun.filter(({ endedBy }) => endedBy !== by) }, 'good'];
    case 'status':
      return [state, describeReservation(state)];
    case 'clear':
    case 'reserve':
    case 'release':
    case 'preempt':
      return registered.includes(by) ? asRegistered(state, input) : [state, 'conflict'];
  }
}

/** What only one that has registered may do. */
function asRegistered(
  state: Reserved,
  input: Extract<ReserveInput, { kind: 'clear' | 'reserve' | 'release' | 'preempt' }>,
): readonly [Reserved, ReserveOutput] {
  const { registered, holder, type } = state;
  const { by } = input;
  switch (input.kind) {
    case 'clear':
      return [{ ...state, registered: [], holder: undefined }, 'good'];
    case 'reserve':
      if (holder === undefined) return [{ ...state, holder: by, type: input.type }, 'good'];
      return [state, holder === by && type === input.type ? 'good' : 'conflict'];
    case 'release':
      if (holder !== by) return [state, 'good'];
      return type === input.type ? [{ ...state, holder: undefined }, 'good'] : [state, 'refused'];
    case 'preempt': {
      if (!registered.includes(input.victim)) return [state, 'conflict'];
      const begun = state.begun.map((write) =>
        write.by === input.victim ? { ...write, endedBy: by } : write,
      );
      const left = { ...state, begun, registered: registered.filter((each) => each !== input.victim) };
      return [holder === input.victim ? { ...left, holder: by, type: input.type } : left, 'good'];
    }
  }
}
