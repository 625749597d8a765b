import type { ProposedConfChange } from './conf-change-types.ts';
import type { ProposalResult, RaftStatus } from './status.ts';
import type { ConfState, Message, RaftConfig, Ready } from './types.ts';

export declare class RawNode {
  constructor(config: RaftConfig);
  tick(): void;
  campaign(): void;
  propose(data: Uint8Array): ProposalResult;
  proposeConfChange(change: ProposedConfChange): ProposalResult;
  applyConfChange(change: ProposedConfChange): ConfState;
  step(message: Message): void;
  hasReady(): boolean;
  ready(): Ready;
  advance(): void;
  readIndex(context: Uint8Array): void;
  transferLeader(to: number): void;
  forgetLeader(): void;
  reportUnreachable(id: number): void;
  reportSnapshot(id: number, outcome: 'finish' | 'failure'): void;
  status(): RaftStatus;
}
