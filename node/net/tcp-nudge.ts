import { type BareSegment, type Endpoint, sendSegments, TCP_ACK } from './tcp-segment.ts';

/**
 * An acknowledgement of nothing, far from any number the connection is at. Whoever has that connection answers with
 * one of its own (RFC 9293 §3.10.7.4), to which a host that knows no such connection answers with the right reset.
 */
export function nudge(from: Endpoint, to: Endpoint): BareSegment {
  return { from, to, flags: TCP_ACK, sequence: 0 };
}

/**
 * Lets initiators that had connections with `from` notice that it has moved here, where nobody knows these
 * connections: at once, not when they next send something, or send it again.
 * @throws OperationError kind "unavailable" when the system refuses (privilege, no route)
 */
export function nudgeConnections(from: Endpoint, initiators: readonly Endpoint[]): void {
  sendSegments(initiators.map((initiator) => nudge(from, initiator)));
}
