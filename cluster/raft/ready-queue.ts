import { invariant } from '../../base/errors.ts';
import type { RaftCore } from './raft-core.ts';
import { step } from './step.ts';
import {
  type Entry,
  type HardState,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  type Ready,
  type SoftState,
} from './types.ts';

/** A Ready in the making. */
type Work = { -readonly [Key in keyof Omit<Ready, 'messages'>]: Ready[Key] };

/** Collects what the owner of the node has to do, and what the node learns when it is done. */
export class ReadyQueue {
  readonly #core: RaftCore;
  readonly #async: boolean;
  #lastSoftState: SoftState;
  #lastHardState: HardState;
  /** Messages the node gets from itself once the Ready taken last is carried out; not in async mode. */
  #onAdvance: readonly Message[] | undefined;

  constructor(core: RaftCore) {
    this.#core = core;
    this.#async = core.config.asyncStorageWrites;
    this.#lastSoftState = core.softState();
    this.#lastHardState = core.hardState();
  }

  hasReady(): boolean {
    const { log, messages, messagesAfterAppend, readStates } = this.#core;
    return (
      messages.length > 0 ||
      messagesAfterAppend.length > 0 ||
      readStates.length > 0 ||
      log.unstable.hasNextEntries ||
      log.unstable.nextSnapshot() !== undefined ||
      log.hasNextCommitted(!this.#async) ||
      !sameSoftState(this.#core.softState(), this.#lastSoftState) ||
      !sameHardState(this.#core.hardState(), this.#lastHardState)
    );
  }

  take(): Ready {
    invariant(this.#onAdvance === undefined, 'ready() was called again before advance()');
    const core = this.#core;
    const work = this.#collect();
    const append = storageAppend(core, work);
    const apply = storageApply(core, work.committedEntries);
    let messages: readonly Message[];
    if (this.#async) {
      messages = core.messages.concat(append, apply);
    } else {
      // The owner writes before it sends, so promises to others can go along; those to itself come back
      // with advance().
      messages = [...core.messages, ...core.messagesAfterAppend.filter(({ to }) => to !== core.id)];
      const responses = [...append, ...apply].flatMap((message) => message.responses ?? []);
      this.#onAdvance = responses.filter(({ to }) => to === core.id);
    }
    this.#accept(work);
    return Object.assign(work, { messages });
  }

  #collect(): Work {
    const core = this.#core;
    const softState = core.softState();
    const hardState = core.hardState();
    const snapshot = core.log.unstable.nextSnapshot();
    const entries = core.log.unstable.nextEntries();
    const last = this.#lastHardState;
    const work: Work = {
      readStates: core.readStates,
      entries,
      committedEntries: core.log.nextCommitted(!this.#async),
      // The commit index alone can be found again after a crash.
      mustSync: entries.length > 0 || hardState.vote !== last.vote || hardState.term !== last.term,
    };
    if (!sameSoftState(softState, this.#lastSoftState)) work.softState = softState;
    if (!sameHardState(hardState, last)) work.hardState = hardState;
    if (snapshot !== undefined) work.snapshot = snapshot;
    return work;
  }

  #accept(work: Omit<Ready, 'messages'>): void {
    const core = this.#core;
    this.#lastSoftState = work.softState ?? this.#lastSoftState;
    this.#lastHardState = work.hardState ?? this.#lastHardState;
    core.readStates = [];
    core.messages = [];
    core.messagesAfterAppend = [];
    core.log.unstable.acceptInProgress();
    core.log.acceptApplying(work.committedEntries, !this.#async);
  }

  advance(): void {
    invariant(!this.#async, 'advance() has no meaning with asynchronous storage writes');
    invariant(this.#onAdvance !== undefined, 'advance() was called without a ready() before it');
    const messages = this.#onAdvance;
    this.#onAdvance = undefined;
    for (const message of messages) step(this.#core, message);
  }
}

/** The write of log and state, with the promises that wait for it. Nothing to write or promise: no message. */
function storageAppend(core: RaftCore, work: Omit<Ready, 'messages'>): readonly Message[] {
  const { entries, hardState, snapshot } = work;
  const promises = core.messagesAfterAppend;
  const nothing = entries.length === 0 && hardState === undefined && snapshot === undefined;
  if (nothing && promises.length === 0) return [];
  return [
    {
      type: 'MsgStorageAppend',
      to: LOCAL_APPEND_THREAD,
      from: core.id,
      entries,
      ...hardState,
      ...(snapshot === undefined ? {} : { snapshot }),
      responses: [...promises, ...storageAppendAnswer(core, work)],
    },
  ];
}

/**
 * Tells the node, after the write, how much of its log is stable.
 *
 * It names the log's end and the term now, and goes along with every write while anything is unstable. An
 * answer of an earlier term is ignored, because entries it speaks of may have been replaced and put back in
 * the meantime, with the replacing write still under way; the write of the new term brings another answer.
 */
function storageAppendAnswer(core: RaftCore, work: Omit<Ready, 'messages'>): readonly Message[] {
  const { snapshot } = work;
  const hasUnstable = core.log.unstable.length > 0;
  if (!hasUnstable && snapshot === undefined) return [];
  const last = hasUnstable ? core.log.lastEntry : undefined;
  return [
    {
      type: 'MsgStorageAppendResp',
      to: core.id,
      from: LOCAL_APPEND_THREAD,
      term: core.term,
      ...(last === undefined ? {} : { index: last.index, logTerm: last.term }),
      ...(snapshot === undefined ? {} : { snapshot }),
    },
  ];
}

/** Applying belongs to no term: what is committed stays committed. */
function storageApply(core: RaftCore, entries: readonly Entry[]): readonly Message[] {
  if (entries.length === 0) return [];
  const answer: Message = {
    type: 'MsgStorageApplyResp',
    to: core.id,
    from: LOCAL_APPLY_THREAD,
    entries,
  };
  return [{ type: 'MsgStorageApply', to: LOCAL_APPLY_THREAD, from: core.id, entries, responses: [answer] }];
}

function sameSoftState(a: SoftState, b: SoftState): boolean {
  return a.leader === b.leader && a.role === b.role;
}

function sameHardState(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.vote === b.vote && a.commit === b.commit;
}
