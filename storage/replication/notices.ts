import type { Clock } from '../../base/clock.ts';
import type { PeerTransport } from '../../base/peer-transport.ts';
import type { ReplicaCore } from './core.ts';
import { encodeFrame, type NoticeFrame } from './frame.ts';
import type { MemberIdentity } from './group-state.ts';
import { NOTICE_REPEAT_MS } from './limits.ts';
import type { PrimaryState } from './primary-state.ts';

interface NoticesContext {
  readonly core: ReplicaCore;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly primary: () => PrimaryState | undefined;
  readonly onNotice: (notice: Uint8Array) => void;
}

/** What the node of the primary lets those of the other members know, beside the log: see PortalGroup.publish. */
export class Notices {
  readonly #context: NoticesContext;
  #notice: Uint8Array | undefined;
  #sentMs = Number.NEGATIVE_INFINITY;

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
  }

  tick(nowMs: number): void {
    if (nowMs - this.#sentMs >= NOTICE_REPEAT_MS) this.#send();
  }

  /** Somebody may not have it. */
  repeat(): void {
    this.#send();
  }

  #send(): void {
    const { core, transport, clock } = this.#context;
    const primary = this.#context.primary();
    if (primary === undefined || this.#notice === undefined) return;
    this.#sentMs = clock.monotonicMs();
    const { groupId: group, epoch } = core;
    const frame = encodeFrame({ kind: 'notice', group, epoch, notice: this.#notice });
    for (const { nodeId, linkUp } of primary.members.values()) if (linkUp) transport.send(nodeId, frame);
  }

  take(from: MemberIdentity, { epoch, notice }: NoticeFrame): void {
    const { core, primary, onNotice } = this.#context;
    if (primary() === undefined && epoch >= core.epoch && core.primary === from.nodeId)
      onNotice(notice.slice());
  }
}
