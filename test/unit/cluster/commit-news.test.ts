import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { CommitNews } from '../../../cluster/commit-news.ts';
import { COMMIT_NEWS_DELAY_MS } from '../../../cluster/limits.ts';
import { proposalHeader } from '../../../cluster/proposals.ts';
import type { Entry, Message } from '../../../cluster/raft/index.ts';

const entryOf = (raftId: number): Entry => ({
  term: 1,
  index: 1,
  type: 'normal',
  data: proposalHeader.encode({ raftId, start: 1n, counter: 1n }),
});

const append = (to: number, commit: number, entries: readonly Entry[] = []): Message => ({
  type: 'MsgApp',
  to,
  from: 1,
  term: 1,
  index: 1,
  logTerm: 1,
  commit,
  entries,
});

describe('news of a commit', () => {
  let clock: ManualClock;
  let sent: string[];
  let news: CommitNews;

  beforeEach(() => {
    clock = new ManualClock();
    sent = [];
    news = new CommitNews(clock, ({ to, commit }) => sent.push(`${clock.monotonicMs()}: ${commit} to ${to}`));
  });

  it('goes at once to whoever waits for an entry, to others a moment later, and only the latest', () => {
    expect(news.hold(append(2, 5))).toBe(true);
    expect(news.hold(append(3, 5))).toBe(true);
    news.committed([entryOf(1), entryOf(3)]);
    expect(sent).toEqual(['0: 5 to 3']);
    expect(news.hold(append(2, 6))).toBe(true);
    clock.advance(COMMIT_NEWS_DELAY_MS);
    expect(sent).toEqual(['0: 5 to 3', `${COMMIT_NEWS_DELAY_MS}: 6 to 2`]);
    clock.advance(1_000);
    expect(sent.length).toBe(2);
  });

  it('goes with the next entries where there are any', () => {
    news.hold(append(2, 5));
    expect(news.hold(append(2, 5, [entryOf(1)]))).toBe(false);
    clock.advance(1_000);
    expect(sent).toEqual([]);
  });

  it('of other members than before goes to all at once', () => {
    news.hold(append(2, 5));
    news.hold(append(3, 5));
    news.committed([{ term: 1, index: 5, type: 'confChangeV2', data: new Uint8Array(0) }]);
    expect(sent).toEqual(['0: 5 to 2', '0: 5 to 3']);
  });

  it('is not told by a leader that was', () => {
    news.hold(append(2, 5));
    news.clear();
    clock.advance(1_000);
    news.hold(append(2, 6));
    clock.advance(COMMIT_NEWS_DELAY_MS);
    expect(sent).toEqual([`${1_000 + COMMIT_NEWS_DELAY_MS}: 6 to 2`]);
  });

  it('is all that is held back', () => {
    for (const type of ['MsgHeartbeat', 'MsgVote', 'MsgAppResp', 'MsgTimeoutNow'] as const) {
      expect(news.hold({ type, to: 2, from: 1 })).toBe(false);
    }
  });
});
