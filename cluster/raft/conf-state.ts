import { invariant } from '../../base/errors.ts';
import type { ConfChange } from './conf-change-types.ts';
import { changeMembership, type Membership, restoreMembership } from './conf-changer.ts';
import { confStateOf, EMPTY_CONFIGURATION } from './configuration.ts';
import { Tracker } from './tracker.ts';
import type { ConfState } from './types.ts';

/**
 * The configuration that `confState` becomes by committed changes, in order; for an owner that has to know it at
 * some index without a running node. Pure.
 * @throws InvariantError for a change that does not fit
 */
export function confStateAfter(confState: ConfState, changes: readonly ConfChange[]): ConfState {
  if (changes.length === 0) return confState;
  // Arithmetic of memberships carries what is known of each peer along; here nothing is.
  const tracker = new Tracker({ maxMessages: 1, maxBytes: Number.POSITIVE_INFINITY });
  const context = { lastIndex: 1, newProgress: tracker.newProgress.bind(tracker) };
  const nobody: Membership = { configuration: EMPTY_CONFIGURATION, progress: new Map() };
  let membership = restoreMembership(nobody, confState, context);
  for (const change of changes) {
    const outcome = changeMembership(membership, change, context);
    invariant(!('refused' in outcome), `a committed change does not fit: ${JSON.stringify(outcome)}`);
    membership = outcome;
  }
  return confStateOf(membership.configuration);
}
