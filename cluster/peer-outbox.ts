import type { Timers } from '../base/clock.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import { CommitNews } from './commit-news.ts';
import { RAFT_KIND } from './peer-message.ts';
import type { Entry, Message, RawNode } from './raft/index.ts';
import { encodeRaftMessage } from './raft-codec.ts';
import type { RaftMembers } from './raft-members.ts';
import type { RefetchHelp } from './refetch-help.ts';
import type { SnapshotSender } from './snapshot-sender.ts';

interface OutboxContext {
  readonly raw: RawNode;
  readonly members: RaftMembers;
  readonly transport: PeerTransport;
  readonly snapshotSender: SnapshotSender;
  readonly help: RefetchHelp;
  readonly timers: Timers;
  /** Raft has been told something outside its own step, and may want to go on. */
  readonly stepped: () => void;
}

/** How what Raft says to other members gets there, and Raft hears what did not. */
export class PeerOutbox {
  readonly #context: OutboxContext;
  readonly #commitNews: CommitNews;
  #isStopped = false;

  constructor(context: OutboxContext) {
    this.#context = context;
    this.#commitNews = new CommitNews(context.timers, (message) => {
      if (!this.#isStopped) this.#transmit(message);
    });
  }

  /** Everything that it rests on must be durable. */
  send(message: Message): void {
    if (message.type === 'MsgSnap') this.#sendSnapshot(message);
    else if (!this.#commitNews.hold(message)) this.#transmit(message);
  }

  /** These entries are committed: whoever proposed one waits to hear it. */
  committed(entries: readonly Entry[]): void {
    this.#commitNews.committed(entries);
  }

  /** What only a leader says is said no longer. */
  stopLeading(): void {
    this.#commitNews.clear();
    this.#context.snapshotSender.stopAll();
    this.#context.help.stopAll();
  }

  stop(): void {
    this.#isStopped = true;
    this.#commitNews.clear();
  }

  #transmit(message: Message): void {
    const { raw, members, transport } = this.#context;
    const to = members.nodeIdOf(message.to);
    const bytes = encodeRaftMessage(message);
    const sent = to !== undefined && bytes !== undefined && transport.send(to, [RAFT_KIND, bytes]);
    if (!sent && message.type === 'MsgApp') raw.reportUnreachable(message.to);
  }

  #sendSnapshot({ to, term = 0, snapshot }: Message): void {
    const { raw, members, snapshotSender, help, stepped } = this.#context;
    const nodeId = members.nodeIdOf(to);
    if (nodeId === undefined || snapshot === undefined || help.isHelping(nodeId)) {
      raw.reportSnapshot(to, 'failure');
      return;
    }
    snapshotSender.send(nodeId, snapshot, { term }, (outcome) => {
      raw.reportSnapshot(to, outcome);
      stepped();
    });
  }
}
