import { describeError, OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Command } from '../cluster/state/commands.ts';
import type { ClientRecord, ClusterState, NodeId } from '../cluster/state/model.ts';
import type { BootService } from './http-boot/ports.ts';
import type { BeginBootAnswer } from './portal/worker-protocol.ts';

/** How long a client's boot script sleeps before it asks again while its disk is being moved. */
const RETRY_AFTER_SECONDS = 1;

/**
 * Turns "this machine wants to boot" into a disk that is ready, from whichever node was asked: the write cache
 * is dealt with where the client's portal group is served.
 */
export class ClusterBootService implements BootService {
  readonly #nodeId: NodeId;
  readonly #state: () => ClusterState;
  readonly #here: (client: string) => Promise<BeginBootAnswer>;
  readonly #elsewhere: (nodeId: NodeId, client: string) => Promise<BeginBootAnswer>;
  readonly #propose: (command: Command) => Promise<unknown>;
  readonly #logger: Logger;

  constructor(options: {
    nodeId: NodeId;
    state: () => ClusterState;
    beginBootHere: (client: string) => Promise<BeginBootAnswer>;
    beginBootElsewhere: (nodeId: NodeId, client: string) => Promise<BeginBootAnswer>;
    propose: (command: Command) => Promise<unknown>;
    logger: Logger;
  }) {
    this.#nodeId = options.nodeId;
    this.#state = options.state;
    this.#here = options.beginBootHere;
    this.#elsewhere = options.beginBootElsewhere;
    this.#propose = options.propose;
    this.#logger = options.logger;
  }

  async beginBoot(request: { mac: string; remoteAddress: string }): ReturnType<BootService['beginBoot']> {
    const state = this.#state();
    const client = clientByMac(state, request.mac);
    if (client === undefined) return { kind: 'refused', reason: 'this machine is not registered' };
    const group = state.portalGroups[client.portalGroup];
    const primary = group?.primary;
    if (group === undefined || primary === undefined) {
      return wait('no node serves the disk of this machine at the moment');
    }
    try {
      const answer =
        primary === this.#nodeId
          ? await this.#here(client.name)
          : await this.#elsewhere(primary, client.name);
      if (answer.kind === 'refused') return { kind: 'refused', reason: answer.reason };
      if (answer.kind === 'not-serving') return wait('the disk of this machine is moving to another node');
    } catch (error) {
      this.#logger.warn('boot.not-begun', { client: client.name, primary, reason: describeError(error) });
      if (error instanceof OperationError && error.kind === 'not-found') {
        return { kind: 'refused', reason: error.message };
      }
      return wait('the node that serves the disk of this machine does not answer');
    }
    await this.#settleChap(client);
    // As it is now: what the client logs in with must be what the cluster has settled on.
    const chap = this.#state().clients[client.name]?.chap?.current ?? undefined;
    this.#logger.info('boot.begun', { client: client.name, mac: request.mac, remote: request.remoteAddress });
    return {
      kind: 'boot',
      targetName: client.targetName,
      initiatorName: client.initiatorName,
      portalAddress: group.address,
      portalPort: group.port,
      lun: 0,
      ...(chap === undefined ? {} : { chap }),
    };
  }

  /** Whatever ran on this machine before has ended, so credentials from before are good no longer. */
  async #settleChap({ name, chap }: ClientRecord): Promise<void> {
    if (chap?.previous === undefined) return;
    try {
      await this.#propose({ type: 'settleClientChap', name });
    } catch (error) {
      // They stay good until the next boot.
      this.#logger.warn('boot.chap-not-settled', { client: name, reason: describeError(error) });
    }
  }
}

function wait(reason: string): { kind: 'wait'; reason: string; retryAfterSeconds: number } {
  return { kind: 'wait', reason, retryAfterSeconds: RETRY_AFTER_SECONDS };
}

export function clientByMac(state: ClusterState, mac: string): ClientRecord | undefined {
  return Object.values(state.clients).find((client) => client.macs.includes(mac));
}
