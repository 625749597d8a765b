import { OperationError } from '../base/errors.ts';
import type { RecordLog } from '../base/record-log.ts';
import type { AppliedStore } from './applied-store.ts';
import { decodeCommand } from './command-codec.ts';
import { RECOVERY_INDEX_STEP } from './limits.ts';
import { pack, unpack } from './msgpack.ts';
import { proposalHeader } from './proposals.ts';
import type { ConfState } from './raft/index.ts';
import { RaftStore } from './raft-store.ts';
import { apply } from './state/apply.ts';
import { completeState } from './state/genesis.ts';
import type { ClusterState } from './state/model.ts';
import type { RecoveredState, Survivors } from './state/recovery.ts';
import { recoverState } from './state/recovery.ts';
import { newerState, STATE_VERSIONS, versionOf } from './state/versions.ts';

/** What a node that is stopped has of the cluster log. */
export interface LeftOver {
  readonly term: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  /** With every entry applied that is there. */
  readonly state: ClusterState;
}

export interface RecoverySources {
  readonly records: RecordLog;
  readonly appliedStore: AppliedStore;
  readonly genesis: ClusterState;
}

/**
 * Makes a cluster of its own of what one stopped node has, after a majority was lost for good. Every entry of its log
 * is taken as decided, since any of them may have been; what only lost nodes had is gone. The outcome is one snapshot in
 * the node's log, with itself as the only member: it takes effect at the next start, as a whole or not at all.
 */
export class Recovery {
  readonly #store: RaftStore;
  readonly leftOver: LeftOver;

  private constructor(store: RaftStore, leftOver: LeftOver) {
    this.#store = store;
    this.leftOver = leftOver;
  }

  /** Reads only. @throws LogCorruptionError, OperationError code "foreign-data", "lost-data" or "newer-state" */
  static async read({ records, appliedStore, genesis }: RecoverySources): Promise<Recovery> {
    const first: ConfState = {
      voters: Object.values(genesis.nodes).map((node) => node.raftId),
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
      autoLeave: false,
    };
    const store = await RaftStore.open(records, first);
    if (store.lost !== undefined) {
      throw new OperationError(`this node has lost data itself: ${store.lost}`, {
        kind: 'conflict',
        code: 'lost-data',
        accepted: 'a survivor that has lost nothing, or a backup',
      });
    }
    const loaded = (await appliedStore.load()) ?? { state: genesis, position: 0 };
    const { hardState } = store.initialState();
    const missing = store.resumeAt(loaded.position);
    const from = missing?.index ?? loaded.position;
    const start = missing === undefined ? loaded.state : completeState(unpack(missing.data) as ClusterState);
    const state = withEntries(start, store, from);
    const { newest } = STATE_VERSIONS;
    if (versionOf(state) > newest) throw newerState('what is left', versionOf(state), newest);
    const { term, commit } = hardState;
    const lastIndex = store.lastIndex();
    return new Recovery(store, { term, lastIndex, commitIndex: Math.max(commit, from), state });
  }

  /** @throws OperationError code "not-a-member" */
  plan(survivors: Survivors): RecoveredState {
    if (this.leftOver.state.nodes[survivors.self] === undefined) {
      throw new OperationError(
        `node ${survivors.self} is no member of the cluster, as far as its own log tells`,
        {
          kind: 'conflict',
          code: 'not-a-member',
          got: survivors.self,
          accepted: 'a node that had become a member, or a backup',
        },
      );
    }
    return recoverState(this.leftOver.state, survivors);
  }

  /** Writes it, durably. @throws LogFullError, LogFailure */
  async write({ state }: RecoveredState, self: string): Promise<void> {
    const { term, lastIndex } = this.leftOver;
    const raftId = state.nodes[self]?.raftId ?? 0;
    const confState: ConfState = {
      voters: [raftId],
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
      autoLeave: false,
    };
    // Beyond anything that other survivors can have, so that they start over from this.
    const index = lastIndex + RECOVERY_INDEX_STEP;
    const newTerm = term + 1;
    const metadata = { index, term: newTerm, confState };
    const hardState = { term: newTerm, vote: 0, commit: index };
    await this.#store.persist([{ hardState, snapshot: { metadata, data: pack(state) }, entries: [] }], true);
  }
}

function withEntries(start: ClusterState, store: RaftStore, from: number): ClusterState {
  let state = start;
  const entries = store.entries(from + 1, store.lastIndex() + 1, Number.MAX_SAFE_INTEGER);
  if (typeof entries === 'string') return state;
  for (const entry of entries) {
    if (entry.type !== 'normal' || entry.data.length < proposalHeader.sizeBytes) continue;
    ({ state } = apply(state, decodeCommand(entry.data.subarray(proposalHeader.sizeBytes), STATE_VERSIONS)));
  }
  return state;
}
