import type { Clock } from '../../base/clock.ts';
import type { PeerTransport } from '../../base/peer-transport.ts';
import type { ReplicaCore } from './core.ts';
import { encodeFrame, type NoticeFrame } from './frame.ts';
import type { MemberIdentity } from './group-state.ts';
import { NOTICE_REPEAT_MS } from './limits.ts';
import { memberOf, type PrimaryState } from './primary-state.ts';

interface NoticesContext {
  readonly core: ReplicaCore;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly primary: () => PrimaryState | undefined;
  readonly onNotice: (notice: Uint8Array) => void;
}

/**
 * What the node of the primary lets those of the other members know, beside the log: see PortalGroup.publish. Whoever answers
 * takes it; whoever is let into the set has answered, and may be the next primary at once. So each member is sent it with its
 * first answer in an epoch, before it can be.
 */
export class Notices {
  readonly #context: NoticesContext;
  #notice: Uint8Array | undefined;
  #sentMs = Number.NEGATIVE_INFINITY;
  /** By node, to which process it has been sent since that answered, and in which epoch. */
  readonly #answered = new Map<string, { readonly incarnation: string; readonly epoch: number }>();

  constructor(context: NoticesContext) {
    this.#context = context;
  }

  publish(notice: Uint8Array): void {
    if (this.#context.primary() === undefined) return;
    this.#notice = notice;
    this.#send();
  }

  /** This member is primary no longer. */
  forget(): void {
    this.#notice = undefined;
    this.#answered.clear();
  }

  tick(nowMs: number): void {
    if (nowMs - this.#sentMs >= NOTICE_REPEAT_MS) this.#send();
  }

  /** A link has come up: what went before it may have been lost. */
  linkUp({ nodeId }: MemberIdentity): void {
    this.#answered.delete(nodeId);
  }

  /** A member has answered, so that by now it takes this node for the primary's. */
  answered({ nodeId, incarnation }: MemberIdentity): void {
    const { epoch } = this.#context.core;
    const last = this.#answered.get(nodeId);
    if (last?.epoch === epoch && last.incarnation === incarnation) return;
    const primary = this.#context.primary();
    if (primary === undefined || this.#notice === undefined) return;
    if (memberOf(primary, { nodeId, incarnation }) === undefined) return;
    this.#answered.set(nodeId, { incarnation, epoch });
    this.#context.transport.send(nodeId, this.#frame(this.#notice));
  }

  #send(): void {
    const { transport, clock } = this.#context;
    const primary = this.#context.primary();
    if (primary === undefined || this.#notice === undefined) return;
    this.#sentMs = clock.monotonicMs();
    const frame = this.#frame(this.#notice);
    for (const { nodeId, linkUp } of primary.members.values()) if (linkUp) transport.send(nodeId, frame);
  }

  #frame(notice: Uint8Array): Uint8Array[] {
    const { groupId: group, epoch } = this.#context.core;
    return encodeFrame({ kind: 'notice', group, epoch, notice });
  }

  take(from: MemberIdentity, { epoch, notice }: NoticeFrame): void {
    const { core, primary, onNotice } = this.#context;
    if (primary() === undefined && epoch >= core.epoch && core.primary === from.nodeId)
      onNotice(notice.slice());
  }
}
