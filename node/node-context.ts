import type { CounterSet } from '../base/counters.ts';
import type { Logger } from '../base/logger.ts';
import type { NodeDirectory } from './setup/node-directory.ts';

/** What every part of the node is given. */
export interface NodeContext {
  readonly directory: NodeDirectory;
  readonly incarnation: string;
  /** By which this process's guardian will make its end known; see peer/last-word.ts. */
  readonly lastWord: Uint8Array;
  readonly logger: (component: string) => Logger;
  readonly counters: CounterSet;
}
