import { beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../base/logger.ts';
import type { PeerTransport } from '../../../base/peer-transport.ts';
import { Contacts } from '../../../cluster/contacts.ts';
import { Fencing } from '../../../cluster/fencing.ts';
import {
  ABSENT_FENCE_AFTER_MS,
  STARTED_AFTER_STEADY_MS,
  STARTING_FENCE_AFTER_MS,
  STARTING_MS,
  TICK_MS,
} from '../../../cluster/limits.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { applyAll, register, runningCluster } from './state/fixtures.ts';

/** n1 leads; n2 has just registered as "b", in sync with the others. */
class Leader {
  readonly contacts = new Contacts();
  readonly fenced: string[] = [];
  isAbsent = false;
  state: ClusterState;
  readonly #fencing: Fencing;
  #nowMs = 0;

  constructor(knownBefore: boolean) {
    const transport = { isAbsent: (nodeId) => this.isAbsent && nodeId === 'n2' } as Partial<PeerTransport>;
    this.#fencing = new Fencing({
      nodeId: 'n1',
      contacts: this.contacts,
      transport: transport as PeerTransport,
      clock: { monotonicMs: () => this.#nowMs, wallMs: () => 0 },
      logger: silentLogger,
      propose: (command: Command) => {
        if (command.type === 'fenceNode') this.fenced.push(`${command.nodeId} ${command.incarnation}`);
        return Promise.resolve();
      },
    });
    const started = inSync(applyAll(runningCluster(), register(2, 'b')));
    this.state = knownBefore ? started : runningCluster();
    this.run(TICK_MS, ['n2', 'n3']);
    this.state = started;
  }

  get fenceAfterMs(): number {
    return this.state.settings.fenceAfterMs;
  }

  /** For so long these are heard, at every tick. */
  run(forMs: number, heard: readonly string[]): void {
    const untilMs = this.#nowMs + forMs;
    while (this.#nowMs < untilMs) {
      this.#nowMs += TICK_MS;
      this.contacts.tick(this.#nowMs);
      this.contacts.leads(true, 'n1');
      for (const nodeId of heard) {
        const incarnation = this.state.nodes[nodeId]?.incarnation ?? '';
        this.contacts.heard({ nodeId, incarnation });
      }
      this.#fencing.tick(this.state);
    }
  }

  ended(): void {
    this.#fencing.ended({ nodeId: 'n2', incarnation: 'b' });
  }
}

function inSync(state: ClusterState): ClusterState {
  const members = Object.values(state.nodes).map(({ nodeId, incarnation }) => ({ nodeId, incarnation }));
  const groups = Object.entries(state.portalGroups).map(([id, group]) => [id, { ...group, inSync: members }]);
  return { ...state, portalGroups: Object.fromEntries(groups) as ClusterState['portalGroups'] };
}

describe('a node that has just registered', () => {
  let leader: Leader;
  beforeEach(() => {
    leader = new Leader(false);
  });

  it('may be silent for longer while it starts, and not for ever', () => {
    leader.run(STARTING_FENCE_AFTER_MS, ['n3']);
    expect(leader.fenced).toEqual([]);
    leader.run(2 * TICK_MS, ['n3']);
    expect(leader.fenced).toEqual(['n2 b']);
  });

  it('may be so again and again', () => {
    for (let i = 0; i < 4; i++) {
      leader.run(leader.fenceAfterMs + 4 * TICK_MS, ['n3']);
      leader.run(4 * TICK_MS, ['n2', 'n3']);
    }
    expect(leader.fenced).toEqual([]);
  });

  it('may not any more once it has been heard steadily', () => {
    leader.run(STARTED_AFTER_STEADY_MS + TICK_MS, ['n2', 'n3']);
    leader.run(leader.fenceAfterMs, ['n3']);
    expect(leader.fenced).toEqual([]);
    leader.run(2 * TICK_MS, ['n3']);
    expect(leader.fenced).toEqual(['n2 b']);
  });

  it('may not any more after a while, however unsteadily it is heard', () => {
    for (let passedMs = 0; passedMs < STARTING_MS; passedMs += 500) {
      leader.run(500 - TICK_MS, ['n3']);
      leader.run(TICK_MS, ['n2', 'n3']);
    }
    expect(leader.fenced).toEqual([]);
    leader.run(leader.fenceAfterMs + 2 * TICK_MS, ['n3']);
    expect(leader.fenced).toEqual(['n2 b']);
  });

  it('is fenced as ever where its guardian has seen it end', () => {
    leader.run(2 * TICK_MS, ['n3']);
    leader.ended();
    leader.run(TICK_MS, ['n3']);
    expect(leader.fenced).toEqual(['n2 b']);
  });

  it('is fenced as ever where its host says that nobody is there', () => {
    leader.isAbsent = true;
    leader.run(ABSENT_FENCE_AFTER_MS, ['n3']);
    expect(leader.fenced).toEqual([]);
    leader.run(2 * TICK_MS, ['n3']);
    expect(leader.fenced).toEqual(['n2 b']);
  });

  it('makes no difference to the others', () => {
    leader.run(leader.fenceAfterMs + 2 * TICK_MS, ['n2']);
    expect(leader.fenced).toEqual(['n3 a']);
  });
});

it('a node that was there before the leader itself started is not taken to be starting', () => {
  const leader = new Leader(true);
  leader.run(leader.fenceAfterMs + 2 * TICK_MS, ['n3']);
  expect(leader.fenced).toEqual(['n2 b']);
});
