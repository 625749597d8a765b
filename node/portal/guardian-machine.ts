import type { GuardianAnswer, GuardianOrder, KeepOrder, LastWordOrder } from './guardian-protocol.ts';

/**
 * What the guardian decides. It holds addresses only as long as its node keeps saying so: when a worker of the node is
 * silent for a time to live, its addresses go; when the pipe ends because the node died, all do.
 */
export interface GuardianState {
  /** Each with the worker that holds it. */
  readonly held: ReadonlyMap<string, number>;
  /** By worker: the monotonic time at which its addresses go unless renewed. None for one that holds none. */
  readonly expiresAtMs: ReadonlyMap<number, number>;
  /** What to say when the node is no more; undefined: nothing. */
  readonly lastWord: LastWordOrder | undefined;
}

export type GuardianEvent =
  | { readonly type: 'order'; readonly order: GuardianOrder }
  | { readonly type: 'tick' }
  /** The pipe from the node ended: its process has, or is about to, or lets go of us. */
  | { readonly type: 'nodeGone' };

export type GuardianEffect =
  | { readonly type: 'configure'; readonly interface: string | null }
  | { readonly type: 'addAddress'; readonly address: string; readonly afterwards: GuardianAnswer }
  | { readonly type: 'removeAddress'; readonly address: string; readonly afterwards?: GuardianAnswer }
  | { readonly type: 'answer'; readonly answer: GuardianAnswer }
  /** A time to live ran out with addresses held: whatever still holds them must lose them. */
  | { readonly type: 'nodeSilent' }
  /** When all that came before is done, and the node's process has surely ended, and not otherwise. */
  | { readonly type: 'testify'; readonly order: LastWordOrder }
  | { readonly type: 'keepSocket'; readonly order: KeepOrder }
  | { readonly type: 'closeSocket'; readonly socket: number }
  /**
   * Nobody serves the connections that are kept any more. They end without a word once the addresses are off, so that
   * initiators come again when somebody else has them; and with a reset after a while, should nobody take over.
   */
  | { readonly type: 'forsake' }
  | { readonly type: 'exit' };

export interface GuardianStep {
  readonly state: GuardianState;
  readonly effects: readonly GuardianEffect[];
}

const FIRST_HOLDER = 0;

export const initialGuardianState: GuardianState = {
  held: new Map(),
  expiresAtMs: new Map(),
  lastWord: undefined,
};

export function stepGuardian(state: GuardianState, event: GuardianEvent, nowMs: number): GuardianStep {
  switch (event.type) {
    case 'order':
      return obey(state, event.order, nowMs);
    case 'tick': {
      const silent = new Set(Array.from(state.expiresAtMs, ([holder, at]) => (nowMs < at ? -1 : holder)));
      const addresses = Array.from(state.held, ([address]) => address).filter((address) =>
        silent.has(state.held.get(address) ?? -1),
      );
      if (addresses.length === 0) return { state, effects: [] };
      return {
        state: without(state, addresses),
        effects: [
          ...addresses.map((address): GuardianEffect => ({ type: 'removeAddress', address })),
          { type: 'nodeSilent' },
          { type: 'answer', answer: { answer: 'expired', addresses } },
        ],
      };
    }
    case 'nodeGone':
      return {
        state: initialGuardianState,
        effects: [
          ...[...state.held.keys()].map((address): GuardianEffect => ({ type: 'removeAddress', address })),
          { type: 'forsake' },
          ...(state.lastWord === undefined ? [] : [{ type: 'testify', order: state.lastWord } as const]),
          { type: 'exit' },
        ],
      };
  }
}

function obey(state: GuardianState, order: GuardianOrder, nowMs: number): GuardianStep {
  switch (order.order) {
    case 'configure':
      return { state, effects: [{ type: 'configure', interface: order.interface }] };
    case 'hold': {
      const { holder = FIRST_HOLDER } = order;
      const held = new Map(state.held).set(order.address, holder);
      const afterwards: GuardianAnswer = { answer: 'held', address: order.address };
      const untilMs = Math.max(state.expiresAtMs.get(holder) ?? 0, nowMs + order.ttlMs);
      const expiresAtMs = new Map(state.expiresAtMs).set(holder, untilMs);
      return {
        state: { ...state, held, expiresAtMs },
        effects: [{ type: 'addAddress', address: order.address, afterwards }],
      };
    }
    case 'renew': {
      // A renewal after the expiry revives nothing: the addresses are gone and the node is told so.
      const { holder = FIRST_HOLDER } = order;
      if (!state.expiresAtMs.has(holder)) return { state, effects: [] };
      const expiresAtMs = new Map(state.expiresAtMs).set(holder, nowMs + order.ttlMs);
      return { state: { ...state, expiresAtMs }, effects: [] };
    }
    case 'drop': {
      const afterwards: GuardianAnswer = { answer: 'dropped', address: order.address };
      return {
        state: without(state, [order.address]),
        effects: [{ type: 'removeAddress', address: order.address, afterwards }],
      };
    }
    case 'testify':
      return { state: { ...state, lastWord: order }, effects: [] };
    case 'keep':
      return { state, effects: [{ type: 'keepSocket', order }] };
    case 'release':
      return { state, effects: [{ type: 'closeSocket', socket: order.socket }] };
    case 'clear':
      return {
        state,
        effects: [
          ...order.addresses
            .filter((address) => !state.held.has(address))
            .map((address): GuardianEffect => ({ type: 'removeAddress', address })),
          { type: 'answer', answer: { answer: 'cleared' } },
        ],
      };
  }
}

function without(state: GuardianState, addresses: readonly string[]): GuardianState {
  const held = new Map(state.held);
  for (const address of addresses) held.delete(address);
  const holders = new Set(held.values());
  const expiresAtMs = new Map(Array.from(state.expiresAtMs).filter(([holder]) => holders.has(holder)));
  return { ...state, held, expiresAtMs };
}
