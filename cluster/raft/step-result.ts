import type { RaftCore } from './raft-core.ts';
import type { DropReason, ProposalResult } from './status.ts';
import type { Message, MessageType } from './types.ts';

/** Only proposals are ever dropped with a reason to tell. */
export type StepResult = ProposalResult;

export const STEPPED: StepResult = { outcome: 'accepted' };

export function dropProposal(core: RaftCore, reason: DropReason): StepResult {
  const { term, leader, leadTransferee } = core;
  core.trace({ event: 'proposalDropped', reason, term, leader, leadTransferee });
  return { outcome: 'dropped', reason };
}

/** What a role does about each type of message; types that are missing mean nothing to it. */
export type Handlers = Partial<Record<MessageType, (core: RaftCore, message: Message) => StepResult | void>>;

export function dispatch(handlers: Handlers, core: RaftCore, message: Message): StepResult {
  return handlers[message.type]?.(core, message) ?? STEPPED;
}
