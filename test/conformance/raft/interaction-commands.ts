import type { ConfChangeTransition, ConfState, RaftConfig, Snapshot } from '../../../cluster/raft/index.ts';
import type { Directive } from './datadriven.ts';
import { changesFromText, describeMessage, describeProgressMap, describeRole } from './describe.ts';
import { errorOf, Interaction, type ScenarioNode } from './interaction.ts';
import { LEVELS } from './render-trace.ts';

/** The commands of interaction/, each on a cluster. What a command returns is an error to be printed. */
type Command = (env: Interaction, directive: Directive) => string | undefined;

const TEMPLATE: Omit<RaftConfig, 'id' | 'storage' | 'trace'> = {
  electionTick: 3,
  heartbeatTick: 1,
  applied: 0,
  asyncStorageWrites: false,
  maxSizePerMessageBytes: Number.POSITIVE_INFINITY,
  maxCommittedSizePerReadyBytes: 0,
  maxUncommittedEntriesBytes: 0,
  maxInflightMessages: 2 ** 31 - 1,
  maxInflightBytes: 0,
  checkQuorum: false,
  preVote: false,
  readOnlyOption: 'safe',
  disableProposalForwarding: false,
  disableConfChangeValidation: false,
  stepDownOnRemoval: false,
  random: (bound) => Math.floor(bound / 2),
};

const TRANSITIONS: Record<string, ConfChangeTransition> = {
  auto: 'auto',
  implicit: 'jointImplicit',
  explicit: 'jointExplicit',
};

const NO_CONTEXT = new Uint8Array(0);

function valuesOf({ args }: Directive, key: string): readonly string[] {
  return args.find((arg) => arg.key === key)?.values ?? [];
}

/** Arguments that are a number and nothing else. */
function numbersOf({ args }: Directive): number[] {
  return args.filter(({ values }) => values.length === 0).map(({ key }) => Number(key));
}

function firstNode(env: Interaction, directive: Directive): ScenarioNode {
  return env.node(numbersOf(directive)[0] ?? 0);
}

function addNodes(env: Interaction, directive: Directive): undefined {
  const one = (key: string) => valuesOf(directive, key)[0];
  const index = Number(one('index') ?? 0);
  const confState: ConfState = {
    voters: valuesOf(directive, 'voters').map(Number),
    learners: valuesOf(directive, 'learners').map(Number),
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  };
  const snapshot: Snapshot = {
    metadata: { index, term: index > 0 ? 1 : 0, confState },
    data: Buffer.from(one('content') ?? ''),
  };
  const config = {
    ...TEMPLATE,
    applied: index,
    asyncStorageWrites: one('async-storage-writes') === 'true',
    maxCommittedSizePerReadyBytes: Number(one('max-committed-size-per-ready') ?? 0),
    maxInflightMessages: Number(one('inflight') ?? TEMPLATE.maxInflightMessages),
    checkQuorum: one('checkquorum') === 'true',
    preVote: one('prevote') === 'true',
    readOnlyOption: one('read-only') === 'lease-based' ? ('leaseBased' as const) : ('safe' as const),
    disableConfChangeValidation: one('disable-conf-change-validation') === 'true',
    stepDownOnRemoval: one('step-down-on-removal') === 'true',
  };
  for (let count = numbersOf(directive)[0] ?? 0; count > 0; count--) env.addNode(config, snapshot);
}

function deliver(env: Interaction, directive: Directive): undefined {
  const type = valuesOf(directive, 'type')[0];
  let handled = 0;
  // In the order of the arguments, so that what is dropped may come before what is delivered.
  for (const { key, values } of directive.args) {
    if (values.length === 0) handled += env.deliver(Number(key), false, type);
    else if (key === 'drop') for (const to of values) handled += env.deliver(Number(to), true, type);
  }
  if (handled === 0) env.output.print('no messages\n');
}

function forEach(doing: string, run: (env: Interaction, node: ScenarioNode) => void): Command {
  return (env, directive) => {
    const nodes = numbersOf(directive).map((id) => env.node(id));
    for (const node of nodes) {
      if (nodes.length === 1) {
        run(env, node);
      } else {
        env.output.print(`> ${node.id} ${doing}\n`);
        env.output.indented(() => run(env, node));
      }
    }
    return undefined;
  };
}

function setLevel(env: Interaction, name: string): string | undefined {
  const level = LEVELS.find((known) => known === name.toUpperCase());
  if (level === undefined) return `log levels must be either of ${LEVELS.join(' ')}`;
  env.output.level = level;
  return undefined;
}

function stabilize(env: Interaction, directive: Directive): undefined {
  const before = env.output.level;
  const level = valuesOf(directive, 'log-level')[0];
  if (level !== undefined) setLevel(env, level);
  const ids = numbersOf(directive);
  env.stabilize(ids.length === 0 ? env.nodes : ids.map((id) => env.node(id)));
  env.output.level = before;
}

function proposeConfChange(env: Interaction, directive: Directive): string | undefined {
  const changes = changesFromText(directive.input);
  const transition = TRANSITIONS[valuesOf(directive, 'transition')[0] ?? 'auto'] ?? 'auto';
  const node = firstNode(env, directive);
  if (valuesOf(directive, 'v1')[0] !== 'true') {
    return errorOf(node.raft.proposeConfChange({ transition, changes, context: NO_CONTEXT }));
  }
  const [change] = changes;
  if (change === undefined || changes.length > 1 || transition !== 'auto') {
    return 'v1 conf change can only have one operation and no transition';
  }
  return errorOf(node.raft.proposeConfChange({ ...change, context: NO_CONTEXT }));
}

function sendSnapshot(env: Interaction, directive: Directive): undefined {
  const [from = 0, to = 0] = numbersOf(directive);
  const { raft, storage } = env.node(from);
  const { term } = raft.status().hardState;
  const message = { type: 'MsgSnap', from, to, term, snapshot: storage.snapshot() } as const;
  env.send([message]);
  env.output.print(describeMessage(message));
}

function tick(ticks: (config: RaftConfig) => number): Command {
  return (env, directive) => {
    const { raft, config } = firstNode(env, directive);
    for (let count = ticks(config); count > 0; count--) raft.tick();
    return undefined;
  };
}

function printStates(env: Interaction): undefined {
  for (const { raft } of env.nodes) {
    const { id, role, leader, hardState, confState } = raft.status();
    const votes = [...confState.voters, ...confState.votersOutgoing].includes(id);
    const standing = votes ? '(Voter)' : '(Non-Voter)';
    env.output.print(`${id}: ${describeRole(role)} ${standing} Term:${hardState.term} Lead:${leader}\n`);
  }
}

function onNode(run: (node: ScenarioNode, env: Interaction, directive: Directive) => void): Command {
  return (env, directive) => {
    run(firstNode(env, directive), env, directive);
    return undefined;
  };
}

const COMMANDS: Record<string, Command> = {
  'add-nodes': addNodes,
  campaign: onNode(({ raft }) => raft.campaign()),
  compact: onNode((node, env, directive) => {
    node.storage.compact(numbersOf(directive)[1] ?? 0);
    env.printLog(node);
  }),
  'deliver-msgs': deliver,
  'forget-leader': onNode(({ raft }) => raft.forgetLeader()),
  'log-level': (env, { args }) => setLevel(env, args[0]?.key ?? ''),
  'process-ready': forEach('handling Ready', (env, node) => env.processReady(node)),
  'process-append-thread': forEach('processing append thread', (env, node) => env.processAppend(node)),
  'process-apply-thread': forEach('processing apply thread', (env, node) => env.processApply(node)),
  propose: (env, directive) =>
    errorOf(firstNode(env, directive).raft.propose(Buffer.from(directive.args[1]?.key ?? ''))),
  'propose-conf-change': proposeConfChange,
  'raft-log': onNode((node, env) => env.printLog(node)),
  'raft-state': printStates,
  'report-unreachable': onNode(({ raft }, _, directive) =>
    raft.reportUnreachable(numbersOf(directive)[1] ?? 0),
  ),
  'send-snapshot': sendSnapshot,
  'set-randomized-election-timeout': onNode(({ raft }, _, directive) =>
    raft.setRandomizedElectionTimeout(Number(valuesOf(directive, 'timeout')[0])),
  ),
  stabilize,
  status: onNode(({ raft }, env) => env.output.print(describeProgressMap(raft.status().progress))),
  'tick-election': tick((config) => config.electionTick),
  'tick-heartbeat': tick((config) => config.heartbeatTick),
  'transfer-leadership': (env, directive) => {
    const [from] = valuesOf(directive, 'from');
    env.node(Number(from)).raft.transferLeader(Number(valuesOf(directive, 'to')[0]));
    return undefined;
  },
};

export function runInteraction(env: Interaction, directive: Directive): string {
  const command = COMMANDS[directive.command];
  if (command === undefined) throw new Error(`unknown command ${directive.command}`);
  const error = command(env, directive);
  const text = env.output.take();
  if (error !== undefined) return env.output.quiet ? error : text + error;
  return text === '' ? 'ok' : text;
}
