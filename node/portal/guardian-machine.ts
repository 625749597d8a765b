import type { GuardianAnswer, GuardianOrder, LastWordOrder } from './guardian-protocol.ts';

/**
 * What the guardian decides. It holds addresses only as long as its node keeps saying so: when the node is
 * silent for a time to live, or its pipe ends because it died, every address goes.
 */
export interface GuardianState {
  readonly held: ReadonlySet<string>;
  /** Monotonic time at which the addresses go unless renewed; undefined while none is held. */
  readonly expiresAtMs: number | undefined;
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
  /** The time to live ran out with addresses held: whatever still holds them must lose them. */
  | { readonly type: 'nodeSilent' }
  /** When all that came before is done, and the node's process has surely ended, and not otherwise. */
  | { readonly type: 'testify'; readonly order: LastWordOrder }
  | { readonly type: 'exit' };

export interface GuardianStep {
  readonly state: GuardianState;
  readonly effects: readonly GuardianEffect[];
}

export const initialGuardianState: GuardianState = {
  held: new Set(),
  expiresAtMs: undefined,
  lastWord: undefined,
};

export function stepGuardian(state: GuardianState, event: GuardianEvent, nowMs: number): GuardianStep {
  switch (event.type) {
    case 'order':
      return obey(state, event.order, nowMs);
    case 'tick': {
      if (state.expiresAtMs === undefined || nowMs < state.expiresAtMs) return { state, effects: [] };
      const addresses = [...state.held];
      return {
        state: { ...initialGuardianState, lastWord: state.lastWord },
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
          ...[...state.held].map((address): GuardianEffect => ({ type: 'removeAddress', address })),
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
      const held = new Set(state.held).add(order.address);
      const afterwards: GuardianAnswer = { answer: 'held', address: order.address };
      const expiresAtMs = Math.max(state.expiresAtMs ?? 0, nowMs + order.ttlMs);
      return {
        state: { ...state, held, expiresAtMs },
        effects: [{ type: 'addAddress', address: order.address, afterwards }],
      };
    }
    case 'renew': {
      // A renewal after the expiry revives nothing: the addresses are gone and the node is told so.
      if (state.held.size === 0) return { state, effects: [] };
      return { state: { ...state, expiresAtMs: nowMs + order.ttlMs }, effects: [] };
    }
    case 'drop': {
      const held = new Set(state.held);
      held.delete(order.address);
      const afterwards: GuardianAnswer = { answer: 'dropped', address: order.address };
      return {
        state: { ...state, held, expiresAtMs: held.size === 0 ? undefined : state.expiresAtMs },
        effects: [{ type: 'removeAddress', address: order.address, afterwards }],
      };
    }
    case 'testify':
      return { state: { ...state, lastWord: order }, effects: [] };
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
