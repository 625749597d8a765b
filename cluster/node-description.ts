import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Command, CommandResult } from './state/commands.ts';
import type { ClusterState, NodeId, NodePlacement } from './state/model.ts';
import { refusalOfNewer, type StateVersions } from './state/versions.ts';

export interface NodeDescriptionOptions {
  readonly nodeId: NodeId;
  readonly incarnation: string;
  readonly placement: NodePlacement;
  readonly versions: StateVersions;
  readonly propose: (command: Command) => Promise<CommandResult>;
  readonly logger: Logger;
}

/** Tells the cluster what this node's own settings say of its place, whenever it knows something else. */
export class NodeDescription {
  readonly #options: NodeDescriptionOptions;
  #isTelling = false;
  /** What the cluster refused will be refused again. */
  #isRefused = false;

  constructor(options: NodeDescriptionOptions) {
    this.#options = options;
  }

  /** To be called with every state. */
  follow(state: ClusterState): void {
    const { nodeId, incarnation, placement, versions, propose, logger } = this.#options;
    const node = state.nodes[nodeId];
    if (node?.status !== 'up' || node.incarnation !== incarnation) return;
    const { weight, rack } = placement;
    const known = node.described ?? {};
    if ((known.weight === weight && known.rack === rack) || this.#isTelling || this.#isRefused) return;
    const command: Command = { type: 'describeNode', nodeId, incarnation, ...placement };
    if (refusalOfNewer(state, versions.neededBy(command)) !== undefined) return;
    this.#isTelling = true;
    propose(command)
      .then((result) => {
        if (result.ok) return;
        this.#isRefused = true;
        logger.error('cluster.description-refused', { ...result.error });
      })
      .catch((error: unknown) => {
        // Told again with the next state.
        if (!(error instanceof OperationError)) throw error;
        logger.warn('cluster.description-failed', { message: error.message });
      })
      .finally(() => {
        this.#isTelling = false;
      });
  }
}
