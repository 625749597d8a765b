import {
  connectInitiator,
  type Initiator,
  type InitiatorOptions,
} from '../../../../scripts/simulator/iscsi-initiator.ts';
import { INITIATOR, TARGET, type TestTarget } from './target-fixture.ts';

/** The initiators of a test; they go with it. */
export class AttachedInitiators {
  readonly #target: () => TestTarget;
  readonly #attached: Initiator[] = [];

  /** @param target at which they log in: that of the test that is running */
  constructor(target: () => TestTarget) {
    this.#target = target;
  }

  options(more: Partial<InitiatorOptions> = {}): InitiatorOptions {
    const { host, port } = this.#target();
    return { host, port, initiatorName: INITIATOR, targetName: TARGET, ...more };
  }

  async attach(more: Partial<InitiatorOptions> = {}): Promise<Initiator> {
    return this.keep(await connectInitiator(this.options(more)));
  }

  /** One that was logged in otherwise. */
  keep(initiator: Initiator): Initiator {
    this.#attached.push(initiator);
    return initiator;
  }

  /** To be called after each test: ends the sessions, then the target. */
  async end(): Promise<void> {
    for (const initiator of this.#attached.splice(0)) initiator.destroy();
    await this.#target().portal.close();
  }
}
