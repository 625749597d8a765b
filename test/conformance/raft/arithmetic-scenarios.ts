import {
  type ConfChangeRefusal,
  enterJoint,
  leaveJoint,
  type Membership,
  simpleChange,
} from '../../../cluster/raft/conf-changer.ts';
import { EMPTY_CONFIGURATION } from '../../../cluster/raft/configuration.ts';
import { Inflights } from '../../../cluster/raft/inflights.ts';
import { Progress } from '../../../cluster/raft/progress.ts';
import {
  type AckedIndex,
  type JointVoters,
  jointCommitted,
  jointVote,
  majorityCommitted,
  majorityVote,
} from '../../../cluster/raft/quorum.ts';
import type { Directive } from './datadriven.ts';
import { changesFromText, describeConfiguration, describeProgressMap, hex } from './describe.ts';

/** The scenarios of quorum/: what majorities and joint majorities have decided. */

const VOTE_NAMES = { won: 'VoteWon', lost: 'VoteLost', pending: 'VotePending' };

export function runQuorum({ command, args }: Directive): string {
  const values = (key: string) => args.find((arg) => arg.key === key)?.values ?? [];
  const incoming = new Set(values('cfg').map(Number));
  const joint = args.some((arg) => arg.key === 'cfgj');
  const outgoing = new Set(
    values('cfgj')
      .filter((value) => value !== 'zero')
      .map(Number),
  );
  const voters = { incoming, outgoing };
  const ids = [...new Set([...incoming, ...outgoing])];
  const given = values(command === 'vote' ? 'votes' : 'idx');
  if (given.length !== ids.length) {
    const voters = ids.sort((a, b) => a - b).map((id) => `${id}:{}`);
    const input = given.map((value) => ({ y: '2', n: '1', _: '0' })[value] ?? value);
    return `error: mismatched input (explicit or _) for voters map[${voters.join(' ')}]: [${input.join(' ')}]`;
  }
  const known = ids.map((id, at) => [id, given[at]] as const).filter(([, value]) => value !== '_');

  if (command === 'vote') {
    const votes = new Map(known.map(([id, value]) => [id, value === 'y']));
    return voteReport(voters, joint, votes);
  }
  if (command === 'committed') {
    const acked = new Map(known.map(([id, value]) => [id, Number(value)]));
    return committedReport(voters, joint, acked);
  }
  throw new Error(`unknown command ${command}`);
}

function voteReport(voters: JointVoters, joint: boolean, votes: ReadonlyMap<number, boolean>): string {
  const result = joint ? jointVote(voters, votes) : majorityVote(voters.incoming, votes);
  const swapped = joint ? jointVote(swap(voters), votes) : result;
  return `${swapped === result ? '' : `${VOTE_NAMES[swapped]} <-- via symmetry\n`}${VOTE_NAMES[result]}\n`;
}

function swap({ incoming, outgoing }: JointVoters): JointVoters {
  return { incoming: outgoing, outgoing: incoming };
}

function index(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '∞' : String(value);
}

/** Beside the result, every other way to compute it that should agree, when it does not. */
function committedReport(voters: JointVoters, joint: boolean, acks: ReadonlyMap<number, number>): string {
  const acked: AckedIndex = (id) => acks.get(id);
  const { incoming, outgoing } = voters;
  const all = new Set([...incoming, ...outgoing]);
  const others: [string, number][] = [];
  let result: number;
  if (joint) {
    result = jointCommitted(voters, acked);
    others.push(['via symmetry', jointCommitted(swap(voters), acked)]);
  } else {
    result = majorityCommitted(incoming, acked);
    others.push(['via alternative computation', committedByTrial(incoming, acked)]);
    others.push(['via zero-joint quorum', jointCommitted({ incoming, outgoing: new Set() }, acked)]);
    others.push(['via self-joint quorum', jointCommitted({ incoming, outgoing: incoming }, acked)]);
    for (const [id, own] of acks) {
      if (!incoming.has(id) || own >= result) continue;
      for (const lower of [own - 1, 0]) {
        const lowered: AckedIndex = (other) => (other === id ? lower : acks.get(other));
        others.push([`overlaying ${id}->${lower}`, majorityCommitted(incoming, lowered)]);
      }
    }
  }
  const doubts = others.filter(([, value]) => value !== result);
  const lines = doubts.map(([name, value]) => `${index(value)} <-- ${name}\n`);
  return `${describeAcks(all, acked)}${lines.join('')}${index(result)}\n`;
}

/** The definition, taken literally: the largest index that more than half have reached. */
function committedByTrial(voters: ReadonlySet<number>, acked: AckedIndex): number {
  if (voters.size === 0) return Number.POSITIVE_INFINITY;
  const reached = (at: number) => [...voters].filter((id) => (acked(id) ?? 0) >= at).length;
  const candidates = [0, ...[...voters].map((id) => acked(id) ?? 0)];
  return Math.max(...candidates.filter((at) => reached(at) * 2 > voters.size));
}

/** A bar for each voter, as long as the number of voters that are behind it. */
function describeAcks(voters: ReadonlySet<number>, acked: AckedIndex): string {
  const n = voters.size;
  if (n === 0) return '<empty majority quorum>';
  const ids = [...voters].sort((a, b) => a - b);
  const lines = ids.map((id) => {
    const own = acked(id);
    const behind = ids.filter((other) => (acked(other) ?? 0) < (own ?? 0)).length;
    const bar = own === undefined ? `?${' '.repeat(n)}` : `${'x'.repeat(behind)}>${' '.repeat(n - behind)}`;
    return `${bar} ${String(own ?? 0).padStart(5)}    (id=${hex(id)})\n`;
  });
  return `${' '.repeat(n)}    idx\n${lines.join('')}`;
}

/** The scenarios of confchange/: one membership, changed step by step. */

const REFUSALS: Record<ConfChangeRefusal, string> = {
  alreadyJoint: 'config is already joint',
  notJoint: "can't leave a non-joint config",
  simpleWhileJoint: "can't apply simple config change in joint config",
  noVoters: "can't make a zero-voter config joint",
  removesAllVoters: 'removed all voters',
  needsJoint: 'more than one voter changed without entering joint config',
};

const MAX_INFLIGHT = 10;

export class ConfChangeScenario {
  #membership: Membership = { configuration: EMPTY_CONFIGURATION, progress: new Map() };
  #lastIndex = 0;

  run({ command, args, input }: Directive): string {
    const context = {
      lastIndex: this.#lastIndex++,
      newProgress: (start: ConstructorParameters<typeof Progress>[0]) =>
        new Progress(start, new Inflights(MAX_INFLIGHT, Number.POSITIVE_INFINITY)),
    };
    const parsed = changesFromText(input);
    if ('error' in parsed) return parsed.error;
    const { changes } = parsed;
    if (command === 'leave-joint' && changes.length > 0) return 'this command takes no input\n';
    const autoLeave = args.some(({ key, values }) => key === 'autoleave' && values[0] === 'true');
    const outcome = () => {
      if (command === 'simple') return simpleChange(this.#membership, changes, context);
      if (command === 'enter-joint') return enterJoint(this.#membership, autoLeave, changes, context);
      return command === 'leave-joint' ? leaveJoint(this.#membership) : undefined;
    };
    const result = outcome();
    if (result === undefined) return 'unknown command';
    if ('refused' in result) return `${REFUSALS[result.refused]}\n`;
    this.#membership = result;
    const peers = [...result.progress.values()].sort((a, b) => a.id - b.id);
    return `${describeConfiguration(result.configuration)}\n${describeProgressMap(peers)}`;
  }
}
