import { IPV4_ANY, type Ipv4 } from '../../base/ipv4.ts';
import type { DhcpMessage } from './message.ts';
import { MESSAGE_TYPE } from './option-registry.ts';

/** Where a reply goes (RFC 2131 §4.1). */
export type ReplyDestination =
  /** Through the relay agent that forwarded the request, at the server port. */
  | { readonly kind: 'relay'; readonly address: Ipv4 }
  /** To a client that already has its address, at the client port. */
  | { readonly kind: 'client'; readonly address: Ipv4 }
  /** To everyone on the link, at the client port. */
  | { readonly kind: 'broadcast' }
  /** Back where the request came from: a PXE boot server's answer on port 4011 (PXE 2.1 §2.2.4). */
  | { readonly kind: 'sender' };

/**
 * A server MAY unicast to a client that has no address yet by writing its ARP entry first; this one has no
 * way to do so and broadcasts, which RFC 2131 §4.1 allows where unicast is not possible.
 */
export function replyDestination(
  request: Pick<DhcpMessage, 'giaddr' | 'ciaddr'>,
  replyType: number,
): ReplyDestination {
  if (request.giaddr !== IPV4_ANY) return { kind: 'relay', address: request.giaddr };
  // "In all cases, when giaddr is zero, the server broadcasts any DHCPNAK messages."
  if (replyType === MESSAGE_TYPE.nak) return { kind: 'broadcast' };
  if (request.ciaddr !== IPV4_ANY) return { kind: 'client', address: request.ciaddr };
  return { kind: 'broadcast' };
}
