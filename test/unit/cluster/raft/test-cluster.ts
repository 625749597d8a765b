import {
  type ConfState,
  decodeConfChange,
  type Entry,
  MemoryStorage,
  type Message,
  type RaftConfig,
  type RaftTraceEvent,
  RawNode,
  type ReadState,
} from '../../../../cluster/raft/index.ts';

export function confStateOfVoters(voters: readonly number[], learners: readonly number[] = []): ConfState {
  return { voters, learners, votersOutgoing: [], learnersNext: [], autoLeave: false };
}

export const DEFAULTS: Omit<RaftConfig, 'id' | 'storage'> = {
  electionTick: 10,
  heartbeatTick: 1,
  applied: 0,
  asyncStorageWrites: false,
  maxSizePerMessageBytes: 1_000_000,
  maxCommittedSizePerReadyBytes: 0,
  maxUncommittedEntriesBytes: 0,
  maxInflightMessages: 16,
  maxInflightBytes: 0,
  checkQuorum: false,
  preVote: false,
  readOnlyOption: 'safe',
  disableProposalForwarding: false,
  disableConfChangeValidation: false,
  stepDownOnRemoval: false,
  random: () => 0,
  trace: () => undefined,
};

export function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

export function entry(index: number, term: number, text = ''): Entry {
  return { index, term, type: 'normal', data: bytes(text) };
}

/** A storage that has the entries, from index 1, with these terms. */
export function storageWith(voters: readonly number[], terms: readonly number[] = []): MemoryStorage {
  const storage = new MemoryStorage();
  storage.setConfState(confStateOfVoters(voters));
  storage.append(terms.map((term, at) => entry(at + 1, term, `${term}.${at + 1}`)));
  const term = terms.at(-1) ?? 0;
  storage.setHardState({ term, vote: 0, commit: 0 });
  return storage;
}

/** A node whose Ready is carried out at once (not in async mode); messages are left to the test. */
export class TestNode {
  readonly id: number;
  readonly storage: MemoryStorage;
  readonly events: RaftTraceEvent[] = [];
  readonly applied: string[] = [];
  readonly reads: ReadState[] = [];
  readonly raft: RawNode;
  sent: Message[] = [];

  constructor(id: number, storage: MemoryStorage, config: Partial<RaftConfig> = {}) {
    this.id = id;
    this.storage = storage;
    const trace = (event: RaftTraceEvent) => this.events.push(event);
    this.raft = new RawNode({ ...DEFAULTS, trace, ...config, id, storage });
  }

  get status() {
    return this.raft.status();
  }

  get commit(): number {
    return this.status.hardState.commit;
  }

  /** Carries out everything there is to do, and returns what was sent. */
  settle(): Message[] {
    while (this.raft.hasReady()) {
      const ready = this.raft.ready();
      if (ready.hardState !== undefined) this.storage.setHardState(ready.hardState);
      if (ready.snapshot !== undefined) this.storage.applySnapshot(ready.snapshot);
      this.storage.append(ready.entries);
      for (const committed of ready.committedEntries) this.#apply(committed);
      this.reads.push(...ready.readStates);
      this.sent.push(...ready.messages);
      this.raft.advance();
    }
    return this.take();
  }

  take(): Message[] {
    const messages = this.sent;
    this.sent = [];
    return messages;
  }

  #apply(committed: Entry): void {
    if (committed.type !== 'normal') this.raft.applyConfChange(decodeConfChange(committed));
    else if (committed.data.length > 0) this.applied.push(Buffer.from(committed.data).toString());
  }

  step(message: Message): Message[] {
    this.raft.step(message);
    return this.settle();
  }

  tick(count: number): void {
    for (; count > 0; count--) this.raft.tick();
  }
}

export type Passes = (message: Message) => boolean;

/** Nodes and a network that delivers all that `passes` lets through, until nothing moves. */
export class TestCluster {
  readonly nodes: Map<number, TestNode>;
  passes: Passes = () => true;

  constructor(ids: readonly number[], config: Partial<RaftConfig> = {}, voters = ids) {
    this.nodes = new Map(ids.map((id) => [id, new TestNode(id, storageWith(voters), config)]));
  }

  node(id: number): TestNode {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** Messages to and from these nodes are lost. */
  isolate(...ids: number[]): void {
    this.passes = ({ from, to }) => !ids.includes(from) && !ids.includes(to);
  }

  heal(): void {
    this.passes = () => true;
  }

  settle(): void {
    for (let moving = true; moving; ) {
      const messages = [...this.nodes.values()].flatMap((node) => node.settle());
      moving = messages.length > 0;
      for (const message of messages) {
        if (this.passes(message)) this.nodes.get(message.to)?.raft.step(message);
      }
    }
  }

  elect(id: number): TestNode {
    this.node(id).raft.campaign();
    this.settle();
    return this.node(id);
  }

  propose(id: number, text: string) {
    const result = this.node(id).raft.propose(bytes(text));
    this.settle();
    return result;
  }

  heartbeat(id: number): void {
    this.node(id).tick(1);
    this.settle();
  }
}
