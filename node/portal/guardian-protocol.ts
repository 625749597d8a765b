import { ProtocolError } from '../../base/errors.ts';
import type { Endpoint } from '../net/tcp-segment.ts';

/**
 * Orders to the guardian process and its answers, one JSON document a line. Sockets are passed beside them.
 *
 *     node ── hold, renew, drop, clear, testify, keep, release ──▶ guardian
 *     node ◀── held, dropped, expired, failed ── guardian
 */
export type GuardianOrder =
  /**
   * Always first. With an interface, held addresses are put on it and taken off. Without one (loopback, where
   * any address may be bound by anybody) the only way to free the addresses of a hung node is to end it.
   */
  | { readonly order: 'configure'; readonly interface: string | null }
  /** Put the address on the interface and keep it for ttlMs. */
  | ({ readonly order: 'hold'; readonly address: string; readonly ttlMs: number } & ByHolder)
  /** Keep every address of that holder for another ttlMs. */
  | ({ readonly order: 'renew'; readonly ttlMs: number } & ByHolder)
  | { readonly order: 'drop'; readonly address: string }
  | LastWordOrder
  | SocketOrder
  /** Remove addresses that an earlier run may have left behind. */
  | { readonly order: 'clear'; readonly addresses: readonly string[] };

/** Whose word it is: a data-plane worker of the node, whose silence costs its own addresses. Absent: the first's. */
interface ByHolder {
  readonly holder?: number;
}

/** Once the node's process has ended, and its addresses are off, show these the last word. The newest order counts. */
export interface LastWordOrder {
  readonly order: 'testify';
  readonly nodePid: number;
  /** In hexadecimal. */
  readonly lastWord: string;
  readonly to: readonly { readonly host: string; readonly port: number }[];
}

/**
 * Hold this socket open beside the node, so that its connection does not end with the node but when somebody else has the
 * address. It has been passed, with this number as its label, before the order was written.
 */
export interface KeepOrder {
  readonly order: 'keep';
  readonly socket: number;
  readonly portal: Endpoint;
  readonly initiator: Endpoint;
}

export type SocketOrder =
  | KeepOrder
  /** The node has closed that socket; what is kept of it is to be closed too. */
  | { readonly order: 'release'; readonly socket: number };

export type GuardianAnswer =
  | { readonly answer: 'held'; readonly address: string }
  | { readonly answer: 'dropped'; readonly address: string }
  | { readonly answer: 'cleared' }
  /** The node was not heard from in time; its addresses are gone. */
  | { readonly answer: 'expired'; readonly addresses: readonly string[] }
  | { readonly answer: 'failed'; readonly address: string; readonly reason: string };

/** Of the unix socket by which sockets are passed, in the guardian. */
export const SOCKETS_FD = 3;

export function encodeGuardianLine(message: GuardianOrder | GuardianAnswer): string {
  return `${JSON.stringify(message)}\n`;
}

const KINDS = [
  'configure',
  'hold',
  'renew',
  'drop',
  'clear',
  'testify',
  'keep',
  'release',
  'held',
  'dropped',
  'cleared',
  'expired',
  'failed',
];

/** @throws ProtocolError code "bad-guardian-line" for anything that is not one of the messages above */
export function decodeGuardianLine(line: string): GuardianOrder | GuardianAnswer {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    value = undefined;
  }
  const kind = (value as { order?: string; answer?: string } | undefined | null) ?? {};
  if (!KINDS.includes(kind.order ?? kind.answer ?? '')) {
    throw new ProtocolError('not a guardian message', {
      code: 'bad-guardian-line',
      got: line.slice(0, 100),
      limit: KINDS.join(', '),
    });
  }
  return value as GuardianOrder | GuardianAnswer;
}
