import { SeededRandom } from '../../../../base/random.ts';
import {
  type ConfChangeSingle,
  type ConfState,
  decodeConfChange,
  type Entry,
  type HardState,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  type RaftTraceEvent,
  RawNode,
  type Snapshot,
} from '../../../../cluster/raft/index.ts';
import {
  check,
  checkMatching,
  digestOf,
  loseTail,
  type SimulatedNode,
  SimulatedStorage,
  sameEntry,
} from './simulated-node.ts';

/**
 * A whole cluster in one thread, from one seed: messages are lost, doubled, delayed and reordered, nodes
 * crash and lose every write they were not told is done, partitions come and go, leaders hand over,
 * members come and go, logs are compacted. After each step it checks what Raft promises (Raft §5.2, figure 3).
 */

/** A disk that loses at a crash what it had said is written, to see that the checks notice. */
export type Fault = 'none' | 'forgotten vote' | 'forgotten entries';

const MIN_ELECTION_TICK = 4;
const ELECTION_TICK_SPREAD = 8;
const COMPACT_BEHIND = 4;
const MAX_IN_FLIGHT = 200;

interface PendingRead {
  readonly node: number;
  readonly committedBefore: number;
}

export interface SimulationReport {
  readonly elections: number;
  readonly committed: number;
  readonly crashes: number;
  readonly reads: number;
  readonly snapshots: number;
  readonly confChanges: number;
}

export class Simulation {
  readonly #random: SeededRandom;
  readonly #fault: Fault;
  /** With pre-vote and quorum checks, or as in the paper. */
  readonly #careful: boolean;
  readonly #electionTick: number;
  readonly #nodes = new Map<number, SimulatedNode>();
  readonly #leaders = new Map<number, number>();
  /** Every entry known to be committed: position 0 is index 1. */
  readonly #committed: Entry[] = [];
  readonly #digests: string[] = [''];
  readonly #reads = new Map<string, PendingRead>();
  #network: Message[] = [];
  #partition = new Map<number, number>();
  #nextValue = 0;
  /** Has just become leader and is to be checked. */
  #elected: SimulatedNode | undefined;
  readonly #counts = { elections: 0, crashes: 0, reads: 0, snapshots: 0, confChanges: 0 };

  constructor(seed: number, fault: Fault = 'none') {
    this.#random = new SeededRandom(seed);
    this.#fault = fault;
    this.#careful = this.#chance(50);
    this.#electionTick = MIN_ELECTION_TICK + this.#random.below(ELECTION_TICK_SPREAD);
    const size = 3 + this.#random.below(3);
    const voters = Array.from({ length: size }, (_, at) => at + 1);
    const confState: ConfState = {
      voters,
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
      autoLeave: false,
    };
    for (const id of voters) {
      const storage = new SimulatedStorage(() => node.applied);
      storage.setConfState(confState);
      const applied = { index: 0, term: 0, digest: '', confState };
      const node: SimulatedNode = {
        id,
        storage,
        applied,
        raft: undefined,
        appendQueue: [],
        applyQueue: [],
      };
      this.#nodes.set(id, node);
    }
    for (const node of this.#nodes.values()) this.#start(node);
  }

  get report(): SimulationReport {
    return { ...this.#counts, committed: this.#committed.length };
  }

  #chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random.below(items.length)] as T;
  }

  #start(node: SimulatedNode): void {
    node.raft = new RawNode({
      id: node.id,
      electionTick: this.#electionTick,
      heartbeatTick: 2,
      storage: node.storage,
      applied: node.applied.index,
      asyncStorageWrites: true,
      maxSizePerMessageBytes: 200,
      maxCommittedSizePerReadyBytes: 300,
      maxUncommittedEntriesBytes: 2000,
      maxInflightMessages: 4,
      maxInflightBytes: 600,
      checkQuorum: this.#careful,
      preVote: this.#careful,
      readOnlyOption: 'safe',
      disableProposalForwarding: false,
      disableConfChangeValidation: false,
      stepDownOnRemoval: true,
      random: (bound) => this.#random.below(bound),
      trace: (event) => this.#observe(node, event),
    });
    // A follower may campaign at once when the leader is lost in the first tick; nothing to check yet.
    this.#drain(node);
  }

  #observe(node: SimulatedNode, event: RaftTraceEvent): void {
    if (event.event !== 'becameLeader') return;
    this.#counts.elections++;
    const other = this.#leaders.get(event.term);
    check(
      other === undefined || other === node.id,
      `election safety: ${other} and ${node.id} lead term ${event.term}`,
    );
    this.#leaders.set(event.term, node.id);
    this.#elected = node;
  }

  #crash(node: SimulatedNode): void {
    this.#counts.crashes++;
    node.raft = undefined;
    node.appendQueue = [];
    node.applyQueue = [];
    const { hardState } = node.storage.initialState();
    if (this.#fault === 'forgotten vote') node.storage.setHardState({ ...hardState, vote: 0 });
    if (this.#fault === 'forgotten entries') loseTail(node, Math.max(hardState.commit, node.applied.index));
    // The state machine is as durable as what it has applied, so it goes on from there.
    node.storage.setConfState(node.applied.confState);
  }

  /** Takes what the node has to do; nothing of it is done yet. */
  #drain(node: SimulatedNode): void {
    while (node.raft?.hasReady() === true) {
      const ready = node.raft.ready();
      for (const { index, requestContext } of ready.readStates) this.#checkRead(index, requestContext);
      for (const message of ready.messages) {
        if (message.to === LOCAL_APPEND_THREAD) node.appendQueue.push(message);
        else if (message.to === LOCAL_APPLY_THREAD) node.applyQueue.push(message);
        else this.#post(message);
      }
    }
    if (this.#elected === node) this.#checkLeader(node);
  }

  #post(message: Message): void {
    this.#network.push(message);
    if (this.#network.length > MAX_IN_FLIGHT) {
      const [lost] = this.#network.splice(this.#random.below(this.#network.length), 1);
      if (lost !== undefined) this.#reportSnapshot(lost, false);
    }
  }

  #respond(node: SimulatedNode, responses: readonly Message[]): void {
    for (const response of responses) {
      if (response.to === node.id) this.#step(node, response);
      else this.#post(response);
    }
  }

  #step(node: SimulatedNode, message: Message): void {
    node.raft?.step(message);
    this.#drain(node);
  }

  #append(node: SimulatedNode): void {
    const work = node.appendQueue.shift();
    if (work === undefined) return;
    const { term = 0, vote = 0, commit = 0, snapshot, entries = [], responses = [] } = work;
    if (term !== 0) this.#writeState(node, { term, vote, commit });
    if (snapshot !== undefined) this.#install(node, snapshot);
    node.storage.append(entries);
    this.#respond(node, responses);
    // With a faulty disk the worst moment to crash is right after promising something.
    if (this.#fault !== 'none' && responses.length > 0 && this.#chance(10)) this.#crash(node);
  }

  #writeState(node: SimulatedNode, state: HardState): void {
    const before = node.storage.initialState().hardState;
    check(state.term >= before.term, `the term of ${node.id} falls from ${before.term} to ${state.term}`);
    check(
      state.term > before.term || before.vote === 0 || state.vote === before.vote,
      `${node.id} votes for ${before.vote} and ${state.vote} in term ${state.term}`,
    );
    node.storage.setHardState(state);
  }

  #install(node: SimulatedNode, snapshot: Snapshot): void {
    this.#counts.snapshots++;
    const { index, term, confState } = snapshot.metadata;
    node.storage.applySnapshot(snapshot);
    node.applied = { index, term, digest: Buffer.from(snapshot.data).toString(), confState };
    this.#checkDigest(node);
  }

  #apply(node: SimulatedNode): void {
    const work = node.applyQueue.shift();
    if (work === undefined) return;
    for (const entry of work.entries ?? []) {
      // A snapshot may have overtaken what was handed out before it.
      if (entry.index <= node.applied.index) continue;
      this.#commit(node, entry);
      const { applied } = node;
      check(entry.index === applied.index + 1, `${node.id} applies ${entry.index} after ${applied.index}`);
      let { confState } = applied;
      if (entry.type !== 'normal' && node.raft !== undefined) {
        this.#counts.confChanges++;
        confState = node.raft.applyConfChange(decodeConfChange(entry));
      }
      node.applied = {
        index: entry.index,
        term: entry.term,
        digest: digestOf(applied.digest, entry),
        confState,
      };
      this.#checkDigest(node);
    }
    this.#respond(node, work.responses ?? []);
    this.#drain(node);
  }

  /** State machine safety: every node applies the same entry at the same index. */
  #commit(node: SimulatedNode, entry: Entry): void {
    const known = this.#committed[entry.index - 1];
    if (known === undefined) {
      check(entry.index === this.#committed.length + 1, `a gap before committed entry ${entry.index}`);
      this.#committed.push(entry);
      this.#digests.push(digestOf(this.#digests.at(-1) as string, entry));
      return;
    }
    check(sameEntry(known, entry), `${node.id} commits another entry at ${entry.index}`);
  }

  #checkDigest({ id, applied }: SimulatedNode): void {
    check(applied.digest === this.#digests[applied.index], `the state of ${id} differs at ${applied.index}`);
  }

  /** Leader completeness: whoever leads has every committed entry of earlier terms. */
  #checkLeader({ id, raft, storage }: SimulatedNode): void {
    this.#elected = undefined;
    const status = raft?.status();
    if (status?.role !== 'leader') return;
    const required = this.#committed.filter(({ term }) => term < status.hardState.term).length;
    check(status.lastIndex >= required, `${id} leads without committed entry ${required}`);
    const first = storage.firstIndex();
    const last = Math.min(required, storage.lastIndex());
    const stored = first > last ? [] : storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
    if (typeof stored === 'string') return;
    for (const entry of stored) {
      const known = this.#committed[entry.index - 1] as Entry;
      check(sameEntry(known, entry), `${id} leads with another entry at ${entry.index}`);
    }
  }

  /** Log matching: two logs that agree at an index agree everywhere before it. */
  checkLogs(): void {
    const nodes = [...this.#nodes.values()];
    for (const [at, a] of nodes.entries()) {
      for (const b of nodes.slice(at + 1)) checkMatching(a, b);
    }
  }

  #checkRead(index: number, context: Uint8Array): void {
    const key = Buffer.from(context).toString();
    const read = this.#reads.get(key);
    check(read !== undefined, `an answer to a read nobody asked: ${key}`);
    check(
      index >= read.committedBefore,
      `a read at ${index} misses what was committed before it (${read.committedBefore})`,
    );
    this.#counts.reads++;
  }

  #deliverOne(reliable: boolean): void {
    if (this.#network.length === 0) return;
    const at = this.#random.below(Math.min(this.#network.length, reliable ? 1 : 12));
    const message = this.#network[at] as Message;
    if (reliable || !this.#chance(4)) this.#network.splice(at, 1);
    const node = this.#nodes.get(message.to);
    const lost = !reliable && this.#chance(6);
    if (lost || node?.raft === undefined || this.#separated(message.from, message.to)) {
      this.#reportSnapshot(message, false);
      return;
    }
    this.#step(node, message);
    this.#reportSnapshot(message, !this.#chance(20));
  }

  /** The sender of a snapshot is always told what became of it, for until then it sends nothing else. */
  #reportSnapshot({ type, from, to }: Message, arrived: boolean): void {
    const sender = this.#nodes.get(from);
    if (type !== 'MsgSnap' || sender === undefined) return;
    sender.raft?.reportSnapshot(to, arrived ? 'finish' : 'failure');
    this.#drain(sender);
  }

  #separated(a: number, b: number): boolean {
    return this.#partition.get(a) !== this.#partition.get(b);
  }

  #propose(node: SimulatedNode): void {
    node.raft?.propose(Buffer.from(`value ${this.#nextValue++}`));
    this.#drain(node);
  }

  #read(node: SimulatedNode): void {
    if (node.raft === undefined) return;
    const key = `${node.id} ${this.#nextValue++}`;
    // What any node knows to be committed when the read begins must be seen by it.
    const known = [...this.#nodes.values()].map(({ raft }) => raft?.status().hardState.commit ?? 0);
    this.#reads.set(key, { node: node.id, committedBefore: Math.max(this.#committed.length, ...known) });
    node.raft.readIndex(Buffer.from(key));
    this.#drain(node);
  }

  #changeMembers(node: SimulatedNode): void {
    const leader = node.raft?.status();
    if (leader?.role !== 'leader') return;
    const changes: ConfChangeSingle[] = [];
    for (const { id } of this.#nodes.values()) {
      if (id !== node.id && this.#chance(30)) {
        changes.push({ type: this.#pick(['addNode', 'addLearnerNode', 'removeNode'] as const), nodeId: id });
      }
    }
    // Two voters must remain, or a single crash would stop everything for good.
    const lost = changes.filter(({ type }) => type !== 'addNode').length;
    if (changes.length === 0 || leader.confState.voters.length - lost < 2) return;
    node.raft?.proposeConfChange({ transition: 'auto', changes, context: new Uint8Array(0) });
    this.#drain(node);
  }

  #compact({ storage, applied }: SimulatedNode): void {
    storage.compact(Math.max(applied.index - this.#random.below(COMPACT_BEHIND), 0));
  }

  #splitNetwork(): void {
    this.#partition = new Map([...this.#nodes.keys()].map((id) => [id, this.#random.below(2)]));
  }

  /** One random thing happens. */
  disturb(): void {
    const node = this.#pick([...this.#nodes.values()]);
    const dice = this.#random.below(1000);
    if (dice < 330) this.#deliverOne(false);
    else if (dice < 640) this.#append(node);
    else if (dice < 730) this.#apply(node);
    else if (dice < 850) this.#tick(node);
    else if (dice < 930) this.#propose(node);
    else if (dice < 960) this.#read(node);
    else if (dice < 967) this.#crash(node);
    else if (dice < 983) this.#compact(node);
    else if (dice < 988) this.#changeMembers(node);
    else if (dice < 991) node.raft?.transferLeader(this.#pick([...this.#nodes.keys()]));
    else if (dice < 998) this.#partition = new Map();
    else this.#splitNetwork();
    if (node.raft === undefined && this.#chance(30)) this.#start(node);
    this.#drain(node);
  }

  #tick(node: SimulatedNode): void {
    node.raft?.tick();
    this.#drain(node);
  }

  /** Everything works again; @returns whether a fresh proposal reaches every member within `rounds` */
  heal(rounds: number): boolean {
    this.#partition = new Map();
    for (const node of this.#nodes.values()) if (node.raft === undefined) this.#start(node);
    let target: number | undefined;
    for (let round = 0; round < rounds; round++) {
      for (const node of this.#nodes.values()) this.#tick(node);
      this.#settle();
      const leader = [...this.#nodes.values()].find(({ raft }) => raft?.status().role === 'leader');
      if (leader === undefined) continue;
      if (target === undefined && round > rounds / 2) {
        this.#propose(leader);
        target = leader.raft?.status().lastIndex;
      }
      const { confState } = leader.applied;
      const members = [...confState.voters, ...confState.learners, ...confState.votersOutgoing];
      const behind = members.filter((id) => (this.#nodes.get(id)?.applied.index ?? 0) < (target ?? Infinity));
      if (target !== undefined && behind.length === 0) return true;
    }
    return false;
  }

  #settle(): void {
    const busy = () =>
      this.#network.length > 0 ||
      [...this.#nodes.values()].some((n) => n.appendQueue.length + n.applyQueue.length > 0);
    for (let steps = 0; steps < 2000 && busy(); steps++) {
      this.#deliverOne(true);
      for (const node of this.#nodes.values()) {
        this.#append(node);
        this.#apply(node);
      }
    }
  }
}
