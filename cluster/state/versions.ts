import { OperationError } from '../../base/errors.ts';
import type { Command, CommandRefusal } from './commands.ts';
import type { ClusterState } from './model.ts';

/**
 * Versions of the replicated configuration: which commands there are, which fields they have, and what applying them
 * does. A program knows all versions up to its newest. Whoever changes any of these makes a new version and says in
 * `neededBy` which commands need it; what a command of an earlier version does never changes.
 */
export interface StateVersions {
  readonly newest: number;
  /** The version in which this very command, with the fields it has, does what it does here. Total: for any object. */
  readonly neededBy: (command: Command) => number;
}

export const FIRST_STATE_VERSION = 1;

/** Commands that the second version brought: what is said of nodes, of the cluster and of portal groups. */
const OF_VERSION_2: ReadonlySet<string> = new Set<Command['type']>([
  'describeNode',
  'setNode',
  'setCluster',
  'setPortalGroup',
]);
/** Fields that it brought to commands that were there before. */
const FIELDS_OF_VERSION_2: ReadonlyMap<string, readonly string[]> = new Map<
  Command['type'],
  readonly string[]
>([
  ['moveGroup', ['atMs', 'why']],
  ['addReplica', ['insteadOf', 'atMs', 'why']],
  ['dropReplica', ['atMs', 'why']],
]);

function isOfVersion2(command: Command): boolean {
  const fields = FIELDS_OF_VERSION_2.get(command.type) ?? [];
  return OF_VERSION_2.has(command.type) || fields.some((field) => Object.hasOwn(command, field));
}

/** The third brought clients with several paths to their disk. */
const MULTIPATH_VERSION = 3;

/** The fourth brought nodes with several data-plane workers. */
export const WORKERS_VERSION = 4;

/** The fifth brought portal groups that come and go. */
const GROUPS_VERSION = 5;

/** The sixth brought copies that are known to have everything although they have left the set. */
export const SUCCESSION_VERSION = 6;

/**
 * The seventh remembers the addresses of nodes that were removed, and keeps portal groups and new nodes from each other's. Boot
 * files can be removed.
 */
export const ADDRESSES_VERSION = 7;

/** The eighth tells a copy of a portal group from what it was some time ago; see lives.ts. */
export const LIVES_VERSION = 8;

/** The ninth brought a bound on how fast members catch up. */
export const PACE_VERSION = 9;

/** The tenth remembers where nodes that were removed are, as they may have votes still. */
export const REMOVED_ENDPOINTS_VERSION = 10;

/** The eleventh brought the removal of image versions. */
export const REMOVAL_VERSION = 11;

/** The twelfth lets a primary whose own disk takes nothing any more hand its group over. */
export const HAND_OVER_VERSION = 12;

/** Those of this program. */
export const STATE_VERSIONS: StateVersions = {
  newest: HAND_OVER_VERSION,
  neededBy: (command) => {
    if (command.type === 'handOverGroup') return HAND_OVER_VERSION;
    if (command.type === 'removeImageVersion') return REMOVAL_VERSION;
    if (command.type === 'setCluster' && command.catchUpBytesPerSecond !== undefined) return PACE_VERSION;
    const isOfLives =
      (command.type === 'registerNode' && command.lives !== undefined) ||
      (command.type === 'identifyDisk' && command.life !== undefined);
    if (isOfLives) return LIVES_VERSION;
    if (command.type === 'removeBootFile') return ADDRESSES_VERSION;
    if (command.type === 'addPortalGroup' && command.ofFormerNode !== undefined) return ADDRESSES_VERSION;
    if (command.type === 'addPortalGroup' || command.type === 'removePortalGroup') return GROUPS_VERSION;
    if (command.type === 'registerNode' && (command.boot !== undefined || command.retired !== undefined)) {
      return SUCCESSION_VERSION;
    }
    if (command.type === 'registerNode' && command.workers !== undefined) return WORKERS_VERSION;
    if (isOfVersion2(command)) return 2;
    const isMultipath =
      command.type === 'setClientMultipath' ||
      (command.type === 'addClient' && command.multipath !== undefined);
    return isMultipath ? MULTIPATH_VERSION : FIRST_STATE_VERSION;
  },
};

/** The version that every node of the cluster has said it knows, and goes on having to know. */
export function versionOf(state: ClusterState): number {
  return state.stateVersion ?? FIRST_STATE_VERSION;
}

/** Raised once every member has registered with a program that knows more; never lowered. */
export function withRaisedVersion(state: ClusterState): ClusterState {
  const known = Object.values(state.nodes).map((node) => node.stateVersion ?? FIRST_STATE_VERSION);
  const common = Math.min(...known);
  return known.length > 0 && common > versionOf(state) ? { ...state, stateVersion: common } : state;
}

/** Why a command cannot be proposed: not every member would know what it means. */
export function refusalOfNewer(state: ClusterState, needed: number): CommandRefusal | undefined {
  if (needed <= versionOf(state)) return undefined;
  const older = Object.values(state.nodes).filter(
    (node) => (node.stateVersion ?? FIRST_STATE_VERSION) < needed,
  );
  const ids = older.map((node) => node.nodeId).join(', ');
  return {
    kind: 'conflict',
    code: 'members-too-old',
    message: `not every node runs a program that knows this change: ${ids || 'one that has just left'}`,
    got: `configuration version ${versionOf(state)}`,
    accepted: `version ${needed} or later, once every node has been upgraded or removed`,
  };
}

/** The code of what an older program says when it meets what it does not know; it must not go on. */
export const NEWER_STATE = 'newer-state';

/** @param what of the cluster that is newer than this program */
export function newerState(what: string, version: number, newest: number): OperationError {
  return new OperationError(
    `${what} needs version ${version} of the configuration, this program knows ${newest}`,
    {
      kind: 'conflict',
      code: NEWER_STATE,
      got: version,
      accepted: `a program that knows version ${version}: upgrade this node`,
    },
  );
}
