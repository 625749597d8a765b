import {
  asConfChange,
  decodeConfChange,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  MemoryStorage,
  type Message,
  type RaftConfig,
  RawNode,
  type Snapshot,
  type StepOutcome,
} from '../../../cluster/raft/index.ts';
import { describeEntry, describeMessage, describeReady } from './describe.ts';
import { Output } from './output.ts';
import { renderTrace } from './render-trace.ts';

/** A storage whose snapshot is always the newest state applied. */
class ScenarioStorage extends MemoryStorage {
  readonly #newest: () => Snapshot;

  constructor(newest: () => Snapshot) {
    super();
    this.#newest = newest;
  }

  override snapshot(): Snapshot {
    return this.#newest();
  }
}

export interface ScenarioNode {
  readonly id: number;
  readonly raft: RawNode;
  readonly storage: MemoryStorage;
  readonly config: RaftConfig;
  readonly appendWork: Message[];
  readonly applyWork: Message[];
  /** The state after each applied entry: all data so far, in one string of bytes. */
  readonly history: Snapshot[];
}

const ERRORS = {
  dropped: 'raft proposal dropped',
  localMessage: 'raft: cannot step raft local message',
  unknownPeer: 'raft: cannot step as peer not found',
  malformed: 'malformed message',
};

/** An error that a command answers with. */
export class Refusal extends Error {}

export function errorOf(outcome: StepOutcome): string | undefined {
  if (outcome.outcome === 'accepted') return undefined;
  return outcome.outcome === 'dropped' ? ERRORS.dropped : ERRORS[outcome.reason];
}

/** A cluster in which every message, write and apply happens when the scenario says so. */
export class Interaction {
  readonly output = new Output();
  readonly nodes: ScenarioNode[] = [];
  #inFlight: Message[] = [];

  node(id: number): ScenarioNode {
    const node = this.nodes[id - 1];
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  addNode(template: Omit<RaftConfig, 'id' | 'storage' | 'trace'>, snapshot: Snapshot): void {
    const id = this.nodes.length + 1;
    const history = [snapshot];
    const storage = new ScenarioStorage(() => history.at(-1) as Snapshot);
    if (snapshot.metadata.index > 0) storage.applySnapshot(snapshot);
    const config: RaftConfig = {
      ...template,
      id,
      storage,
      trace: (event) => {
        const line = renderTrace(id, event);
        if (line !== undefined) this.output.log(line.level, line.text);
      },
    };
    const raft = new RawNode(config);
    this.nodes.push({ id, raft, storage, config, appendWork: [], applyWork: [], history });
  }

  send(messages: readonly Message[]): void {
    this.#inFlight.push(...messages);
  }

  processReady(node: ScenarioNode): void {
    const ready = node.raft.ready();
    this.output.print(describeReady(ready));
    if (!node.config.asyncStorageWrites) {
      if (ready.hardState !== undefined) node.storage.setHardState(ready.hardState);
      if (ready.snapshot !== undefined) node.storage.applySnapshot(ready.snapshot);
      node.storage.append(ready.entries);
      this.#apply(node, ready.committedEntries);
    }
    for (const message of ready.messages) {
      if (message.to === LOCAL_APPEND_THREAD) node.appendWork.push(message);
      else if (message.to === LOCAL_APPLY_THREAD) node.applyWork.push(message);
      else this.send([message]);
    }
    if (!node.config.asyncStorageWrites) node.raft.advance();
  }

  processAppend(node: ScenarioNode): void {
    const work = node.appendWork.shift();
    if (work === undefined) {
      this.output.print('no append work to perform');
      return;
    }
    this.#process(work, () => {
      const { term = 0, vote = 0, commit = 0, snapshot, entries = [] } = work;
      if (term !== 0 || vote !== 0 || commit !== 0) node.storage.setHardState({ term, vote, commit });
      if (snapshot === undefined) {
        node.storage.append(entries);
        return;
      }
      if (entries.length > 0) throw new Refusal("can't apply snapshot and entries at the same time");
      node.storage.applySnapshot(snapshot);
    });
  }

  processApply(node: ScenarioNode): void {
    const work = node.applyWork.shift();
    if (work === undefined) {
      this.output.print('no apply work to perform');
      return;
    }
    this.#process(work, () => this.#apply(node, work.entries ?? []));
  }

  #process(work: Message, carryOut: () => void): void {
    const { responses = [], ...bare } = work;
    this.output.print(`Processing:\n${describeMessage(bare)}\n`);
    carryOut();
    this.output.print(
      `Responses:\n${responses.map((response) => `${describeMessage(response)}\n`).join('')}`,
    );
    this.send(responses);
  }

  #apply(node: ScenarioNode, entries: NonNullable<Message['entries']>): void {
    for (const entry of entries) {
      const last = node.history.at(-1) as Snapshot;
      const change = entry.type === 'normal' ? undefined : asConfChange(decodeConfChange(entry));
      const confState = change === undefined ? last.metadata.confState : node.raft.applyConfChange(change);
      const data = Buffer.concat([last.data, change === undefined ? entry.data : change.context]);
      node.history.push({ metadata: { index: entry.index, term: entry.term, confState }, data });
    }
  }

  /** @returns how many messages were delivered or dropped */
  deliver(to: number, drop: boolean, type?: string): number {
    const matches = (message: Message) =>
      message.to === to && !(drop && isLocal(message)) && (type === undefined || message.type === type);
    const taken = this.#inFlight.filter(matches);
    this.#inFlight = this.#inFlight.filter((message) => !matches(message));
    for (const message of taken) {
      this.output.print(`${drop ? 'dropped: ' : ''}${describeMessage(message)}\n`);
      if (drop) continue;
      const error = errorOf(this.node(to).raft.step(message));
      if (error !== undefined) this.output.print(`${error}\n`);
    }
    return taken.length;
  }

  /** Goes on until none of `nodes` has anything left to do. */
  stabilize(nodes: readonly ScenarioNode[]): void {
    for (let done = false; !done; ) {
      done = true;
      const phase = (has: (node: ScenarioNode) => boolean, doing: string, run: (n: ScenarioNode) => void) => {
        for (const node of nodes.filter(has)) {
          this.output.print(`> ${node.id} ${doing}\n`);
          run(node);
          done = false;
        }
      };
      phase(
        (node) => node.raft.hasReady(),
        'handling Ready',
        (node) => this.output.indented(() => this.processReady(node)),
      );
      phase(
        (node) => this.#inFlight.some(({ to }) => to === node.id),
        'receiving messages',
        (node) => this.output.indented(() => this.deliver(node.id, false)),
      );
      phase(
        (node) => node.appendWork.length > 0,
        'processing append thread',
        (node) => {
          while (node.appendWork.length > 0) this.output.indented(() => this.processAppend(node));
        },
      );
      phase(
        (node) => node.applyWork.length > 0,
        'processing apply thread',
        (node) => {
          while (node.applyWork.length > 0) this.output.indented(() => this.processApply(node));
        },
      );
    }
  }

  printLog(node: ScenarioNode): void {
    const first = node.storage.firstIndex();
    const last = node.storage.lastIndex();
    if (last < first) {
      this.output.print(`log is empty: first index=${first}, last index=${last}`);
      return;
    }
    const entries = node.storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
    if (typeof entries === 'string') throw new Error(`entries are ${entries}`);
    this.output.print(entries.map((entry) => `${describeEntry(entry)}\n`).join(''));
  }
}

/** Local messages can't be lost. */
function isLocal({ from, to }: Message): boolean {
  const threads = [LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD];
  return from === to || threads.includes(from) || threads.includes(to);
}
