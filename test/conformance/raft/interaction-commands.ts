import type { ConfChangeTransition, ConfState, RaftConfig, Snapshot } from '../../../cluster/raft/index.ts';
import type { Directive } from './datadriven.ts';
import { changesFromText, describeMessage, describeProgressMap, describeRole, quoted } from './describe.ts';
import { errorOf, Interaction, Refusal, type ScenarioNode } from './interaction.ts';
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

/** All values of an argument that may be given more than once. */
function valuesOf({ args }: Directive, key: string): readonly string[] {
  return args.filter((arg) => arg.key === key).flatMap(({ values }) => values);
}

/** As Go writes the truth. */
function isTrue(text: string | undefined): boolean {
  return text !== undefined && ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
}

/** Arguments that are a number and nothing else. */
function numbersOf({ args }: Directive): number[] {
  return args.filter(({ values }) => values.length === 0).map(({ key }) => Number(key));
}

function firstNode(env: Interaction, directive: Directive): ScenarioNode {
  return env.node(numbersOf(directive)[0] ?? 0);
}

const READ_OPTIONS: Record<string, RaftConfig['readOnlyOption']> = {
  safe: 'safe',
  'lease-based': 'leaseBased',
};

function addNodes(env: Interaction, directive: Directive): string | undefined {
  const last = (key: string) => valuesOf(directive, key).at(-1);
  const index = Number(last('index') ?? 0);
  const content = last('content') ?? '';
  const confState: ConfState = {
    voters: valuesOf(directive, 'voters').map(Number),
    learners: valuesOf(directive, 'learners').map(Number),
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  };
  const readOnly = last('read-only') ?? 'safe';
  const readOnlyOption = READ_OPTIONS[readOnly];
  if (readOnlyOption === undefined) return `invalid read-only option ${quoted(Buffer.from(readOnly))}`;
  const isEmpty = confState.voters.length + confState.learners.length + content.length === 0 && index === 0;
  if (!isEmpty && index <= 1) return 'index must be specified as > 1 due to bootstrap';
  const snapshot: Snapshot = {
    metadata: { index, term: index > 0 ? 1 : 0, confState },
    data: Buffer.from(content),
  };
  const config = {
    ...TEMPLATE,
    applied: index,
    asyncStorageWrites: isTrue(last('async-storage-writes')),
    maxCommittedSizePerReadyBytes: Number(last('max-committed-size-per-ready') ?? 0),
    maxInflightMessages: Number(last('inflight') ?? TEMPLATE.maxInflightMessages),
    checkQuorum: isTrue(last('checkquorum')),
    preVote: isTrue(last('prevote')),
    readOnlyOption,
    disableConfChangeValidation: isTrue(last('disable-conf-change-validation')),
    stepDownOnRemoval: isTrue(last('step-down-on-removal')),
  };
  if (config.maxInflightMessages <= 0) return 'max inflight messages must be greater than 0';
  if (readOnlyOption === 'leaseBased' && !config.checkQuorum) {
    return 'CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased';
  }
  for (let count = numbersOf(directive)[0] ?? 0; count > 0; count--) env.addNode(config, snapshot);
  return undefined;
}

function deliver(env: Interaction, directive: Directive): undefined {
  const type = valuesOf(directive, 'type').at(-1);
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
  if (level === undefined) return `log levels must be either of [${LEVELS.join(' ')}]`;
  env.output.level = level;
  return undefined;
}

function stabilize(env: Interaction, directive: Directive): string | undefined {
  const before = env.output.level;
  const level = valuesOf(directive, 'log-level').at(-1);
  const refusal = level === undefined ? undefined : setLevel(env, level);
  if (refusal !== undefined) return refusal;
  const ids = numbersOf(directive);
  try {
    env.stabilize(ids.length === 0 ? env.nodes : ids.map((id) => env.node(id)));
  } finally {
    env.output.level = before;
  }
  return undefined;
}

function proposeConfChange(env: Interaction, directive: Directive): string | undefined {
  for (const { key, values } of directive.args.slice(1)) {
    if (values.length > 0 && key !== 'v1' && key !== 'transition') return `unknown command ${key}`;
  }
  const asked = valuesOf(directive, 'transition').at(-1) ?? 'auto';
  const transition = TRANSITIONS[asked];
  if (transition === undefined) return `unknown transition ${asked}`;
  const parsed = changesFromText(directive.input);
  if ('error' in parsed) return parsed.error;
  const { changes } = parsed;
  const node = firstNode(env, directive);
  if (!isTrue(valuesOf(directive, 'v1').at(-1))) {
    return errorOf(node.raft.proposeConfChange({ transition, changes, context: NO_CONTEXT }));
  }
  const [change] = changes;
  if (change === undefined || changes.length > 1 || transition !== 'auto') {
    return 'v1 conf change can only have one operation and no transition';
  }
  return errorOf(node.raft.proposeConfChange({ ...change, context: NO_CONTEXT }));
}

function reportUnreachable(env: Interaction, directive: Directive): string | undefined {
  const [at, unreachable, ...more] = numbersOf(directive);
  if (at === undefined || unreachable === undefined || more.length > 0) {
    return 'must specify exactly two node indexes: node on which to report, and reported node';
  }
  env.node(at).raft.reportUnreachable(unreachable);
  return undefined;
}

/** New first index minus one, as the storage of the scenarios counts. */
function compact(env: Interaction, directive: Directive): string | undefined {
  const node = firstNode(env, directive);
  const index = numbersOf(directive)[1] ?? 0;
  if (index < node.storage.firstIndex()) return 'requested index is unavailable due to compaction';
  node.storage.compact(index);
  env.printLog(node);
  return undefined;
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
  _breakpoint: () => undefined,
  compact,
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
  'report-unreachable': reportUnreachable,
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

/** What was printed before it came to an error stays. */
function attempt(run: () => string | undefined): string | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

export function runInteraction(env: Interaction, directive: Directive): string {
  const command = COMMANDS[directive.command];
  const error = command === undefined ? 'unknown command' : attempt(() => command(env, directive));
  const text = env.output.take();
  if (error !== undefined) return env.output.quiet ? error : text + error;
  return text === '' ? 'ok' : text;
}
