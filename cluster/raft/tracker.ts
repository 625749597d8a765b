import { ascending, type Configuration, EMPTY_CONFIGURATION } from './configuration.ts';
import { Inflights } from './inflights.ts';
import { Progress, type ProgressStart } from './progress.ts';
import { jointCommitted, jointVote, type VoteResult } from './quorum.ts';

export type ProgressMap = ReadonlyMap<number, Progress>;

export interface InflightLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** The active configuration, the progress of each of its members, and the votes of the present campaign. */
export class Tracker {
  readonly #limits: InflightLimits;
  #configuration: Configuration = EMPTY_CONFIGURATION;
  #progress: ProgressMap = new Map();
  #votes = new Map<number, boolean>();

  constructor(limits: InflightLimits) {
    this.#limits = limits;
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  /** Ascending by id. */
  get progress(): ProgressMap {
    return this.#progress;
  }

  newProgress(start: ProgressStart): Progress {
    return new Progress(start, new Inflights(this.#limits.maxMessages, this.#limits.maxBytes));
  }

  /** Takes the outcome of a configuration change. */
  adopt(configuration: Configuration, progress: ProgressMap): void {
    this.#configuration = configuration;
    this.#replaceProgress(progress);
  }

  #replaceProgress(progress: ProgressMap): void {
    this.#progress = new Map(ascending(progress.keys()).map((id) => [id, progress.get(id) as Progress]));
  }

  /** Forgets what is known of every log; `ownId` is known to match its own. */
  resetProgress(ownId: number, lastIndex: number): void {
    const fresh = new Map<number, Progress>();
    for (const [id, { isLearner }] of this.#progress) {
      const match = id === ownId ? lastIndex : 0;
      fresh.set(id, this.newProgress({ id, match, next: lastIndex + 1, isLearner, recentActive: false }));
    }
    this.#replaceProgress(fresh);
  }

  /** Forgets what is known of one log. */
  forgetProgress(id: number, lastIndex: number): void {
    const known = this.#progress.get(id);
    if (known === undefined) return;
    const { isLearner } = known;
    const fresh = this.newProgress({ id, match: 0, next: lastIndex + 1, isLearner, recentActive: false });
    this.#replaceProgress(new Map([...this.#progress, [id, fresh]]));
  }

  get isSingleVoter(): boolean {
    return this.#configuration.incoming.size === 1 && this.#configuration.outgoing.size === 0;
  }

  /** The highest index that a quorum has. */
  committedIndex(): number {
    return jointCommitted(this.#configuration, (id) => this.#progress.get(id)?.match);
  }

  /** Whether a quorum has been heard from since the last check. */
  quorumActive(): boolean {
    const active = new Map<number, boolean>();
    for (const [id, peer] of this.#progress) {
      if (!peer.isLearner) active.set(id, peer.recentActive);
    }
    return jointVote(this.#configuration, active) === 'won';
  }

  resetVotes(): void {
    this.#votes = new Map();
  }

  /** The first answer of a voter counts. */
  recordVote(id: number, granted: boolean): void {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
  }

  /** The counts are for showing; `result` decides. */
  tallyVotes(): { granted: number; rejected: number; result: VoteResult } {
    let granted = 0;
    let rejected = 0;
    for (const [id, peer] of this.#progress) {
      const vote = peer.isLearner ? undefined : this.#votes.get(id);
      if (vote === undefined) continue;
      if (vote) granted++;
      else rejected++;
    }
    return { granted, rejected, result: jointVote(this.#configuration, this.#votes) };
  }
}
