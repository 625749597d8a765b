import { invariant } from '../../base/errors.ts';
import type { ConfChange, ConfChangeSingle } from './conf-change-types.ts';
import { type Configuration, confStateOf, isJoint } from './configuration.ts';
import type { Progress, ProgressStart } from './progress.ts';
import type { ProgressMap } from './tracker.ts';
import { type ConfState, NO_NODE } from './types.ts';

/** Why a change cannot be made to the configuration at hand. */
export type ConfChangeRefusal =
  | 'alreadyJoint'
  | 'notJoint'
  /** A simple change in a joint configuration. */
  | 'simpleWhileJoint'
  | 'noVoters'
  | 'removesAllVoters'
  /** More than one voter differs: only joint consensus can do that safely. */
  | 'needsJoint';

export interface Membership {
  readonly configuration: Configuration;
  readonly progress: ProgressMap;
}

export type ConfChangeOutcome = Membership | { readonly refused: ConfChangeRefusal };

export interface ConfChangeContext {
  /** Where the log ends; a newcomer is first probed there. */
  readonly lastIndex: number;
  readonly newProgress: (start: ProgressStart) => Progress;
}

/** A membership being changed. Its owner's sets and progress stay untouched. */
class Draft {
  readonly #context: ConfChangeContext;
  readonly #incoming: Set<number>;
  readonly #outgoing: ReadonlySet<number>;
  readonly #learners: Set<number>;
  readonly #learnersNext: Set<number>;
  readonly #progress: Map<number, Progress>;

  constructor(base: Membership, outgoing: ReadonlySet<number>, context: ConfChangeContext) {
    this.#context = context;
    this.#incoming = new Set(base.configuration.incoming);
    this.#outgoing = outgoing;
    this.#learners = new Set(base.configuration.learners);
    this.#learnersNext = new Set(base.configuration.learnersNext);
    this.#progress = new Map(base.progress);
  }

  /** @returns whether voters remain */
  apply(changes: readonly ConfChangeSingle[]): boolean {
    for (const { type, nodeId } of changes) {
      if (nodeId === NO_NODE) continue;
      if (type === 'addNode') this.#makeVoter(nodeId);
      else if (type === 'addLearnerNode') this.#makeLearner(nodeId);
      else if (type === 'removeNode') this.#remove(nodeId);
    }
    return this.#incoming.size > 0;
  }

  #makeVoter(id: number): void {
    this.#setLearner(id, false);
    this.#learners.delete(id);
    this.#learnersNext.delete(id);
    this.#incoming.add(id);
  }

  #makeLearner(id: number): void {
    if (this.#progress.get(id)?.isLearner === true) return;
    this.#incoming.delete(id);
    this.#learnersNext.delete(id);
    if (this.#outgoing.has(id)) {
      this.#learnersNext.add(id);
    } else {
      this.#setLearner(id, true);
      this.#learners.add(id);
    }
  }

  #remove(id: number): void {
    this.#incoming.delete(id);
    this.#learners.delete(id);
    this.#learnersNext.delete(id);
    // As long as it votes in the outgoing half, its progress counts.
    if (!this.#outgoing.has(id)) this.#progress.delete(id);
  }

  #setLearner(id: number, isLearner: boolean): void {
    const known = this.#progress.get(id);
    this.#progress.set(
      id,
      known === undefined ? this.#newcomer(id, isLearner) : known.withLearner(isLearner),
    );
  }

  /** Counted as heard from, else the next quorum check would miss one who had no chance to speak yet. */
  #newcomer(id: number, isLearner: boolean): Progress {
    const next = Math.max(this.#context.lastIndex, 1);
    return this.#context.newProgress({ id, match: 0, next, isLearner, recentActive: true });
  }

  finish(autoLeave: boolean): Membership {
    const configuration = {
      incoming: this.#incoming,
      outgoing: this.#outgoing,
      learners: this.#learners,
      learnersNext: this.#learnersNext,
      autoLeave,
    };
    return checked({ configuration, progress: this.#progress });
  }
}

/** Changes one voter at most, along with any number of learners. */
export function simpleChange(
  base: Membership,
  changes: readonly ConfChangeSingle[],
  context: ConfChangeContext,
): ConfChangeOutcome {
  checked(base);
  if (isJoint(base.configuration)) return { refused: 'simpleWhileJoint' };
  const draft = new Draft(base, new Set(), context);
  if (!draft.apply(changes)) return { refused: 'removesAllVoters' };
  const changed = draft.finish(false);
  if (difference(base.configuration.incoming, changed.configuration.incoming) > 1) {
    return { refused: 'needsJoint' };
  }
  return changed;
}

/** The present voters become the outgoing half; the changes are made to the incoming one. */
export function enterJoint(
  base: Membership,
  autoLeave: boolean,
  changes: readonly ConfChangeSingle[],
  context: ConfChangeContext,
): ConfChangeOutcome {
  checked(base);
  if (isJoint(base.configuration)) return { refused: 'alreadyJoint' };
  if (base.configuration.incoming.size === 0) return { refused: 'noVoters' };
  const draft = new Draft(base, new Set(base.configuration.incoming), context);
  if (!draft.apply(changes)) return { refused: 'removesAllVoters' };
  return draft.finish(autoLeave);
}

/** The incoming half decides alone from now on, and waiting voters become learners. */
export function leaveJoint(base: Membership): ConfChangeOutcome {
  const { configuration } = checked(base);
  if (!isJoint(configuration)) return { refused: 'notJoint' };
  const learners = new Set([...configuration.learners, ...configuration.learnersNext]);
  const progress = new Map<number, Progress>();
  for (const [id, peer] of base.progress) {
    if (configuration.learnersNext.has(id)) progress.set(id, peer.withLearner(true));
    else if (configuration.incoming.has(id) || learners.has(id)) progress.set(id, peer);
  }
  const { incoming } = configuration;
  return checked({
    configuration: { incoming, outgoing: new Set(), learners, learnersNext: new Set(), autoLeave: false },
    progress,
  });
}

/** Whether a change has to go through joint consensus, and who ends it then. */
function jointPlan(change: ConfChange): { autoLeave: boolean } | undefined {
  if (change.transition === 'auto' && change.changes.length <= 1) return undefined;
  return { autoLeave: change.transition !== 'jointExplicit' };
}

/** A change with no transition of its own and no changes leaves the joint configuration. */
function leavesJoint(change: ConfChange): boolean {
  return change.transition === 'auto' && change.changes.length === 0;
}

/** Carries out a committed change. */
export function changeMembership(
  base: Membership,
  change: ConfChange,
  context: ConfChangeContext,
): ConfChangeOutcome {
  if (leavesJoint(change)) return leaveJoint(base);
  const joint = jointPlan(change);
  if (joint === undefined) return simpleChange(base, change.changes, context);
  return enterJoint(base, joint.autoLeave, change.changes, context);
}

/** Builds the membership that a ConfState describes, by the same steps that could have led to it. */
export function restoreMembership(
  base: Membership,
  confState: ConfState,
  context: ConfChangeContext,
): Membership {
  const single = (type: ConfChangeSingle['type']) => (nodeId: number) => ({ type, nodeId });
  const incoming = [
    ...confState.votersOutgoing.map(single('removeNode')),
    ...confState.voters.map(single('addNode')),
    ...confState.learners.map(single('addLearnerNode')),
    ...confState.learnersNext.map(single('addLearnerNode')),
  ];
  let membership = base;
  const take = (outcome: ConfChangeOutcome) => {
    invariant(!('refused' in outcome), `the configuration ${JSON.stringify(confState)} cannot be restored`);
    membership = outcome;
  };
  if (confState.votersOutgoing.length === 0) {
    for (const change of incoming) take(simpleChange(membership, [change], context));
  } else {
    for (const id of confState.votersOutgoing) {
      take(simpleChange(membership, [{ type: 'addNode', nodeId: id }], context));
    }
    take(enterJoint(membership, confState.autoLeave, incoming, context));
  }
  const restored = confStateOf(membership.configuration);
  invariant(
    JSON.stringify(restored) === JSON.stringify(normalized(confState)),
    `restoring the configuration ${JSON.stringify(confState)} gave ${JSON.stringify(restored)}`,
  );
  return membership;
}

function normalized(confState: ConfState): ConfState {
  return confStateOf({
    incoming: new Set(confState.voters),
    outgoing: new Set(confState.votersOutgoing),
    learners: new Set(confState.learners),
    learnersNext: new Set(confState.learnersNext),
    autoLeave: confState.autoLeave,
  });
}

function difference(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  const missing = (from: ReadonlySet<number>, of: ReadonlySet<number>) =>
    [...of].filter((id) => !from.has(id)).length;
  return missing(a, b) + missing(b, a);
}

/** @throws InvariantError when configuration and progress contradict each other or themselves */
function checked(membership: Membership): Membership {
  const { configuration, progress } = membership;
  const { incoming, outgoing, learners, learnersNext } = configuration;
  for (const id of [...incoming, ...outgoing, ...learners, ...learnersNext]) {
    invariant(progress.has(id), `no progress for ${id}`);
  }
  for (const id of learnersNext) {
    invariant(outgoing.has(id), `${id} is to become a learner but does not vote in the outgoing half`);
    invariant(progress.get(id)?.isLearner === false, `${id} is to become a learner but is one already`);
  }
  for (const id of learners) {
    invariant(!outgoing.has(id) && !incoming.has(id), `${id} is both learner and voter`);
    invariant(progress.get(id)?.isLearner === true, `${id} is a learner but its progress says it is not`);
  }
  if (!isJoint(configuration)) {
    invariant(learnersNext.size === 0 && !configuration.autoLeave, 'left-overs of a joint configuration');
  }
  return membership;
}
