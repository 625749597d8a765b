import { RETRANSMISSIONS_MAX, RETRANSMIT_FIRST_MS, RETRANSMIT_LONGEST_MS } from './limits.ts';
import type { TransferTerms } from './negotiation.ts';
import { TFTP_ERROR, type TftpOptions, type TftpPacket } from './packet.ts';

/**
 * The sending side of one transfer (RFC 1350 §4, windows after RFC 7440 §4).
 *
 *     start ──> negotiating ──ACK 0──> sending ──ACK of the last block──> ended
 *       └────────(no options)──────────────┘        ERROR, timeout ──────────┘
 *
 * Blocks are counted from 1 without wrapping here; on the wire the number is the low 16 bits, so a file may
 * have more than 65,535 blocks. Invariant: acked <= sent <= acked + windowsize, sent <= lastBlock.
 */
export interface TransferState {
  readonly phase: 'negotiating' | 'sending' | 'ended';
  readonly terms: TransferTerms;
  /** The one block that is shorter than the others, perhaps empty. */
  readonly lastBlock: number;
  readonly acked: number;
  readonly sent: number;
  /** Windows are repeated once for a repeated ACK; this is the `acked` that has had its turn. */
  readonly repeatedAfter: number | undefined;
  /** Repetitions since the last progress. */
  readonly attempts: number;
}

export type TransferEvent =
  | { readonly kind: 'packet'; readonly packet: TftpPacket }
  | { readonly kind: 'timeout' };

export type TransferEffect =
  | { readonly kind: 'send-option-ack'; readonly options: TftpOptions }
  /** Blocks `first` to `last`, both included. */
  | { readonly kind: 'send-blocks'; readonly first: number; readonly last: number }
  | { readonly kind: 'send-error'; readonly code: number; readonly message: string }
  /** Replaces the timer set before. */
  | { readonly kind: 'arm-timer'; readonly delayMs: number }
  | { readonly kind: 'end'; readonly outcome: TransferOutcome };

/** aborted: by the client, as firmware does that only asked for the size. */
export type TransferOutcome = 'complete' | 'aborted' | 'timed-out' | 'illegal';

export interface TransferStep {
  readonly state: TransferState;
  readonly effects: readonly TransferEffect[];
}

export function startTransfer(terms: TransferTerms): TransferStep {
  const state: TransferState = {
    phase: terms.acknowledged.size > 0 ? 'negotiating' : 'sending',
    terms,
    // A file that fills its last block is followed by an empty one (RFC 1350 §2).
    lastBlock: Math.floor(terms.sizeBytes / terms.blksize) + 1,
    acked: 0,
    sent: 0,
    repeatedAfter: undefined,
    attempts: 0,
  };
  return state.phase === 'sending' ? sendWindow(state) : { state, effects: repeatEffects(state) };
}

/** Where a block lies in the file. */
export function blockRange(terms: TransferTerms, block: number): { start: number; end: number } {
  const start = (block - 1) * terms.blksize;
  return { start, end: Math.min(start + terms.blksize, terms.sizeBytes) };
}

export function stepTransfer(state: TransferState, event: TransferEvent): TransferStep {
  if (state.phase === 'ended') return { state, effects: [] };
  if (event.kind === 'timeout') return onTimeout(state);
  const { packet } = event;
  switch (packet.kind) {
    case 'ack':
      return onAck(state, packet.block);
    case 'error':
      return end(state, 'aborted');
    case 'readRequest':
    case 'writeRequest':
    case 'data':
    case 'optionAck':
      return end(state, 'illegal', [
        {
          kind: 'send-error',
          code: TFTP_ERROR.illegalOperation,
          message: 'only acknowledgements belong into this transfer',
        },
      ]);
  }
}

function onAck(state: TransferState, block16: number): TransferStep {
  if (state.phase === 'negotiating') {
    return block16 === 0 ? sendWindow({ ...state, phase: 'sending', attempts: 0 }) : { state, effects: [] };
  }
  const advance = (block16 - state.acked) & 0xffff;
  if (advance > state.sent - state.acked) return { state, effects: [] };
  if (advance === 0) return onRepeatedAck(state);
  const acked = state.acked + advance;
  if (acked === state.lastBlock) return end({ ...state, acked }, 'complete');
  return sendWindow({ ...state, acked, attempts: 0, repeatedAfter: undefined });
}

/**
 * With one block under way, answering a repeated ACK doubles every later packet (the Sorcerer's Apprentice,
 * RFC 1123 §4.2.3.1), so it is ignored and the timer decides. With a window it says that the first block was
 * lost, and is believed once.
 */
function onRepeatedAck(state: TransferState): TransferStep {
  if (state.terms.windowsize === 1 || state.repeatedAfter === state.acked) return { state, effects: [] };
  return sendWindow({ ...state, repeatedAfter: state.acked });
}

function onTimeout(state: TransferState): TransferStep {
  if (state.attempts >= RETRANSMISSIONS_MAX) return end(state, 'timed-out');
  const next = { ...state, attempts: state.attempts + 1 };
  return { state: next, effects: repeatEffects(next) };
}

/** Sends as much as the window allows after what is acknowledged. */
function sendWindow(state: TransferState): TransferStep {
  const sent = Math.min(state.acked + state.terms.windowsize, state.lastBlock);
  const next = { ...state, sent };
  return { state: next, effects: repeatEffects(next) };
}

function repeatEffects(state: TransferState): readonly TransferEffect[] {
  const send: TransferEffect =
    state.phase === 'negotiating'
      ? { kind: 'send-option-ack', options: state.terms.acknowledged }
      : { kind: 'send-blocks', first: state.acked + 1, last: state.sent };
  const backedOffMs = Math.min(RETRANSMIT_FIRST_MS * 2 ** state.attempts, RETRANSMIT_LONGEST_MS);
  return [send, { kind: 'arm-timer', delayMs: state.terms.timeoutMs ?? backedOffMs }];
}

function end(
  state: TransferState,
  outcome: TransferOutcome,
  before: readonly TransferEffect[] = [],
): TransferStep {
  return { state: { ...state, phase: 'ended' }, effects: [...before, { kind: 'end', outcome }] };
}
