import type { Timers } from '../../base/clock.ts';
import type { Command } from '../../cluster/state/commands.ts';
import type { ImagePart, ImageVersionRef } from '../../storage/image/image-source.ts';
import type { ProposalOutcome } from '../../storage/replication/group-state.ts';
import { IMAGE_MENDING_WAIT_MS } from './limits.ts';
import type { FromWorker } from './worker-protocol.ts';

/** What a data-plane worker asks of the main thread, which has the cluster log and the links to other nodes' images. */
export class MainQuestions {
  readonly #send: (question: FromWorker) => void;
  readonly #timers: Timers;
  readonly #proposals = new Map<number, (outcome: ProposalOutcome) => void>();
  #nextProposal = 1;
  readonly #mendings = new Map<number, (isMended: boolean) => void>();
  #nextMending = 1;

  constructor(send: (question: FromWorker) => void, timers: Timers) {
    this.#send = send;
    this.#timers = timers;
  }

  /** Hands a membership change to the cluster log. */
  propose(command: Command): Promise<ProposalOutcome> {
    const id = this.#nextProposal++;
    return new Promise((resolve) => {
      this.#proposals.set(id, resolve);
      this.#send({ type: 'propose', id, command });
    });
  }

  /** Has a part of an image written anew; false where that was not heard of within IMAGE_MENDING_WAIT_MS, or before stop. */
  mendImage(image: ImageVersionRef, part: ImagePart): Promise<boolean> {
    const id = this.#nextMending++;
    return new Promise((resolve) => {
      const cancel = this.#timers.setTimer(IMAGE_MENDING_WAIT_MS, () => done(false));
      const done = (isMended: boolean): void => {
        cancel();
        this.#mendings.delete(id);
        resolve(isMended);
      };
      this.#mendings.set(id, done);
      this.#send({ type: 'mend', id, image, part });
    });
  }

  /** What became of a proposal. */
  proposed(id: number, outcome: ProposalOutcome): void {
    this.#proposals.get(id)?.(outcome);
    this.#proposals.delete(id);
  }

  /** What became of a part of an image; nobody may wait for it any more. */
  mended(id: number, isMended: boolean): void {
    this.#mendings.get(id)?.(isMended);
  }

  /** What another node has to give is not waited for. */
  stop(): void {
    for (const done of [...this.#mendings.values()]) done(false);
  }
}
