import type { CounterSet } from '../base/counters.ts';
import type { Logger } from '../base/logger.ts';
import type { NodeDirectory } from './setup/node-directory.ts';

/** What every part of the node is given. */
export interface NodeContext {
  readonly directory: NodeDirectory;
  readonly incarnation: string;
  readonly logger: (component: string) => Logger;
  readonly counters: CounterSet;
}
