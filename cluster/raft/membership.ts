import { invariant } from '../../base/errors.ts';
import type { ConfChange } from './conf-change-types.ts';
import {
  type ConfChangeContext,
  changeMembership,
  type Membership,
  restoreMembership,
} from './conf-changer.ts';
import { confStateOf, EMPTY_CONFIGURATION, isVoter } from './configuration.ts';
import type { RaftCore } from './raft-core.ts';
import { broadcastAppend, trySendAppend } from './replication.ts';
import { type ConfState, NO_NODE } from './types.ts';

function contextOf(core: RaftCore): ConfChangeContext {
  return { lastIndex: core.log.lastIndex, newProgress: (start) => core.tracker.newProgress(start) };
}

/**
 * Carries out a committed change.
 * @throws InvariantError when it does not fit: the check on proposing was switched off or bypassed
 */
export function applyConfChange(core: RaftCore, change: ConfChange): ConfState {
  const { configuration, progress } = core.tracker;
  const outcome = changeMembership({ configuration, progress }, change, contextOf(core));
  invariant(
    !('refused' in outcome),
    `a committed configuration change does not fit: ${JSON.stringify(outcome)}`,
  );
  return switchMembership(core, outcome);
}

/** Replaces the whole membership by the one a snapshot or storage describes. */
export function restoreConfState(core: RaftCore, confState: ConfState): void {
  const empty = { configuration: EMPTY_CONFIGURATION, progress: new Map() };
  switchMembership(core, restoreMembership(empty, confState, contextOf(core)));
}

function switchMembership(core: RaftCore, membership: Membership): ConfState {
  const { configuration, progress } = membership;
  core.tracker.adopt(configuration, progress);
  core.trace({ event: 'configurationSwitched', configuration });
  const confState = confStateOf(configuration);
  if (core.role !== 'leader') return confState;

  const own = core.tracker.progress.get(core.id);
  if (own === undefined || own.isLearner) {
    if (core.config.stepDownOnRemoval) core.becomeFollower(core.term, NO_NODE);
    return confState;
  }
  if (configuration.incoming.size === 0) return confState;

  if (core.tryCommit()) {
    // The new quorum may have had the entries already.
    broadcastAppend(core);
  } else {
    for (const [id, peer] of core.tracker.progress) {
      if (id !== core.id) trySendAppend(core, peer, false);
    }
  }
  if (core.leadTransferee !== NO_NODE && !isVoter(configuration, core.leadTransferee)) {
    core.leadTransferee = NO_NODE;
  }
  return confState;
}
