import { beforeEach, describe, expect, it } from 'vitest';
import type { PeerTransport } from '../../../base/peer-transport.ts';
import { Contacts } from '../../../cluster/contacts.ts';
import { LeaderLoss } from '../../../cluster/leader-loss.ts';
import { TICK_MS } from '../../../cluster/limits.ts';
import { NO_NODE, type RawNode } from '../../../cluster/raft/index.ts';

/** A member of three, as seen from outside: whom it follows, and what it was told to do when. */
class Member {
  readonly did: string[] = [];
  readonly contacts = new Contacts();
  readonly raw: { role: string; leader: number };
  absent = false;
  #nowMs = 0;
  readonly #loss: LeaderLoss;
  readonly #timers: { readonly atMs: number; readonly fire: () => void }[] = [];

  constructor(id: number, leader: number) {
    const voters = [1, 2, 3];
    const raw = {
      role: 'follower',
      leader,
      status: () => ({ id, confState: { voters } }),
      forgetLeader: () => {
        this.did.push(`${this.#nowMs}: forget`);
        raw.leader = NO_NODE;
      },
      campaign: () => {
        this.did.push(`${this.#nowMs}: campaign`);
        raw.role = 'preCandidate';
      },
    };
    this.raw = raw;
    this.#loss = new LeaderLoss({
      raw: raw as unknown as RawNode,
      members: { nodeIdOf: (raftId) => (voters.includes(raftId) ? `n${raftId}` : undefined) },
      contacts: this.contacts,
      transport: { isAbsent: () => this.absent } as unknown as PeerTransport,
      timers: {
        setTimer: (delayMs, fire) => {
          this.#timers.push({ atMs: this.#nowMs + delayMs, fire });
          return () => {};
        },
      },
      stepped: () => {},
    });
    this.contacts.tick(0);
    this.hear(leader);
  }

  hear(raftId: number): void {
    this.contacts.heard({ nodeId: `n${raftId}`, incarnation: 'i' });
  }

  endOf(raftId: number, incarnation = 'i'): void {
    this.#loss.ended({ nodeId: `n${raftId}`, incarnation });
  }

  run(untilMs: number): void {
    while (this.#nowMs < untilMs) {
      const tickMs = this.#nowMs + TICK_MS;
      const due = this.#timers.filter(({ atMs }) => atMs > this.#nowMs && atMs < tickMs);
      for (const { atMs, fire } of due) {
        this.#nowMs = atMs;
        fire();
      }
      this.#nowMs = tickMs;
      this.contacts.tick(this.#nowMs);
      this.#loss.tick();
    }
  }
}

describe('a member whose leader is lost', () => {
  let first: Member;

  beforeEach(() => {
    first = new Member(2, 1);
  });

  it('waits for the election timeout where nobody says that the process is gone', () => {
    first.run(10_000);
    expect(first.did).toEqual([]);
  });

  it('does nothing about a leader that can be heard', () => {
    first.absent = true;
    for (let untilMs = TICK_MS; untilMs < 2_000; untilMs += TICK_MS) {
      first.run(untilMs);
      first.hear(1);
    }
    expect(first.did).toEqual([]);
  });

  it('forgets it, and campaigns in turn, again until it has an answer', () => {
    first.absent = true;
    first.run(400);
    expect(first.did).toEqual(['100: forget', '150: campaign', '250: campaign', '350: campaign']);
    const second = new Member(3, 1);
    second.absent = true;
    second.run(400);
    expect(second.did).toEqual(['100: forget', '250: campaign', '350: campaign']);
  });

  it('is told that it has ended: forgets it at once, and campaigns in turn', () => {
    first.endOf(1);
    first.run(350);
    expect(first.did).toEqual([
      '0: forget',
      '5: campaign',
      '100: campaign',
      '200: campaign',
      '300: campaign',
    ]);
    const second = new Member(3, 1);
    second.endOf(1);
    second.run(250);
    expect(second.did).toEqual(['0: forget', '105: campaign', '200: campaign']);
  });

  it('does nothing about the end of another process than the one it follows', () => {
    first.endOf(3);
    first.endOf(1, 'the one before');
    first.run(1_000);
    expect(first.did).toEqual([]);
  });

  it('does not campaign where it follows another by then, or the node is back', () => {
    first.endOf(1);
    first.raw.leader = 3;
    first.hear(3);
    first.run(1_000);
    const second = new Member(3, 1);
    second.endOf(1);
    second.run(50);
    second.contacts.heard({ nodeId: 'n1', incarnation: 'the next one' });
    second.run(1_000);
    expect([first.did, second.did]).toEqual([['0: forget'], ['0: forget', '105: campaign']]);
  });

  it('keeps to an election that it is in', () => {
    first.absent = true;
    first.run(150);
    first.raw.role = 'candidate';
    first.run(2_000);
    expect(first.did).toEqual(['100: forget', '150: campaign']);
  });

  it('stops when it follows another or leads, and when the process is back', () => {
    first.absent = true;
    first.run(150);
    first.raw.role = 'leader';
    first.raw.leader = 2;
    first.run(1_000);
    first.raw.role = 'follower';
    first.raw.leader = 3;
    first.hear(3);
    first.absent = false;
    first.run(2_000);
    expect(first.did).toEqual(['100: forget', '150: campaign']);
    const patient = new Member(2, 1);
    patient.absent = true;
    patient.run(100);
    patient.absent = false;
    patient.run(2_000);
    expect(patient.did).toEqual(['100: forget']);
  });
});
