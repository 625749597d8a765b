import Type, { type Static } from 'typebox';

const nullable = <S extends Parameters<typeof Type.Union>[0][number]>(schema: S, description: string) =>
  Type.Union([schema, Type.Null()], { description });

const diskSchema = Type.Object(
  {
    samples: Type.Integer({ description: 'writes looked at, the last ones' }),
    p50Ms: nullable(Type.Number(), 'null: nothing was written yet'),
    p99Ms: nullable(Type.Number(), 'null: nothing was written yet'),
    underWayMs: Type.Number({ description: 'how long the write under way has taken so far; 0: none is' }),
  },
  { description: "append and fsync of the cluster log on this node's own disk" },
);

const refetchSchema = Type.Object(
  {
    reason: Type.String({ description: 'what was wrong with what it had' }),
    receivedBytes: Type.Integer(),
    totalBytes: Type.Integer({ description: '0: not known yet' }),
    waitingFor: Type.Array(Type.String(), { description: 'nodes whose term is not known yet' }),
  },
  {
    description:
      'this node has lost data and neither votes nor counts before it has fetched it from the others',
  },
);

const clusterStatusSchema = Type.Object({
  role: Type.String({ description: 'leader, follower, candidate or pre-candidate' }),
  leader: nullable(Type.String(), 'null: none is known'),
  term: Type.Integer(),
  commitIndex: Type.Integer(),
  appliedIndex: Type.Integer(),
  lastIndex: Type.Integer(),
  disk: diskSchema,
  refetch: nullable(refetchSchema, 'null: this node has lost nothing, or has it again'),
  removedVoters: Type.Array(Type.String(), {
    description: 'nodes that were removed, and whose votes the others need still, as this node has the log',
  }),
});

const memberSchema = Type.Object({
  nodeId: Type.String(),
  address: Type.String({ description: 'HOST:PORT of its API' }),
  status: Type.Union([Type.Literal('new'), Type.Literal('up'), Type.Literal('fenced')], {
    description: 'new (never started), up, or fenced (its word does not count)',
  }),
  vote: nullable(
    Type.Union([Type.Literal('voter'), Type.Literal('learner')]),
    'in the cluster log: voter, learner (it is still being given the log), or null (no member yet)',
  ),
  draining: Type.Boolean({ description: 'whether everything it leads is to move away' }),
  linkUp: nullable(Type.Boolean(), 'whether this node is connected to it; null: it is this node itself'),
  matchIndex: nullable(Type.Integer(), 'on the leader: the last entry it is known to have'),
  lagEntries: nullable(Type.Integer(), 'on the leader: committed entries that it is not known to have'),
  lastContactMs: nullable(Type.Number(), 'milliseconds since this node last heard from it'),
});

const catchUpSchema = Type.Object({
  nodeId: Type.String(),
  detail: Type.String({ description: 'how far it is, in words' }),
  percent: Type.Integer({ description: 'of what it lacked when it began, and what has been written since' }),
  bytesPerSecond: Type.Integer({ description: 'sent to it lately' }),
  paceBytesPerSecond: Type.Integer({
    description:
      "the group's part of what its node may send just now to replicas that catch up, beside what clients need",
  }),
  limitBytesPerSecond: Type.Integer({
    description: 'the most that a node may send, as set for the cluster',
  }),
  secondsLeft: nullable(Type.Integer(), 'at the pace of late; null: it is not getting nearer just now'),
});

const portalGroupSchema = Type.Object({
  id: Type.String(),
  portal: Type.String({ description: 'ADDRESS:PORT, movable' }),
  epoch: Type.Integer(),
  primary: nullable(Type.String(), 'null: no in-sync replica is up'),
  waiting: nullable(Type.String(), 'why nobody can serve it, and what would help; null: somebody may'),
  dataLoss: nullable(
    Type.String(),
    'since when acknowledged writes may be lost, and why, in words; null: none was given up',
  ),
  inSync: Type.Array(Type.String()),
  replicas: Type.Array(Type.String()),
  minInSync: Type.Integer(),
  durability: Type.Union([Type.Literal('write-back'), Type.Literal('durable')]),
  role: Type.Union([Type.Literal('primary'), Type.Literal('backup'), Type.Literal('none')], {
    description: 'of this node',
  }),
  serving: Type.Boolean({ description: 'whether this node holds the portal and serves its LUNs' }),
  catchUp: Type.Array(catchUpSchema, { description: 'replicas that this node is bringing up to date' }),
  room: nullable(
    Type.String(),
    'what is short of the disks of its logs, in words: of all of them on the primary; null: nothing',
  ),
  slow: nullable(
    Type.String(),
    'on the primary: replicas that take much longer than the others for what is written, and what comes of it, in words; null: none',
  ),
});

const placementSchema = Type.Object(
  {
    rebalance: Type.Union([Type.Literal('on'), Type.Literal('off')]),
    doing: Type.Array(Type.String(), { description: 'copies on their way, each in words' }),
    next: nullable(Type.String(), 'what would be done next, and why; null: nothing is left to be done'),
    waitingFor: nullable(Type.String(), 'what that waits for; null: nothing'),
    warnings: Type.Array(Type.String(), { description: 'what is not as it ought to be, each in words' }),
  },
  { description: 'how portal groups are placed' },
);

const sessionSchema = Type.Object({
  portalGroup: nullable(Type.String(), 'null: before its login is done'),
  client: nullable(Type.String(), 'null: before its login is done'),
  initiatorName: Type.String(),
  remoteAddress: Type.String({ description: 'HOST:PORT' }),
});

const heldImageSchema = Type.Object({
  image: Type.String(),
  version: Type.Integer(),
  held: Type.Boolean({ description: 'whether this node holds all of it, verified' }),
});

export const integritySchema = Type.Object(
  {
    scrubStartedAt: nullable(
      Type.String(),
      'ISO 8601, UTC; null: it is not reading everything through just now',
    ),
    doneBytes: Type.Integer({ description: 'about how far it is' }),
    totalBytes: Type.Integer({ description: 'about how much there is to read' }),
    lastScrubCompletedAt: nullable(Type.String(), 'ISO 8601, UTC; null: never'),
    found: Type.Integer({ description: 'damaged places found on the disk of this node since it was made' }),
    mended: Type.Integer({ description: 'of them, mended with what other nodes have' }),
    left: Type.Array(Type.String(), {
      description: 'damage that no other node could mend so far, each in words; not all when there is much',
    }),
    leftCount: Type.Integer(),
  },
  { description: 'whether what this node keeps is as it was written' },
);
export type IntegrityDocument = Static<typeof integritySchema>;

export const nodeStatusSchema = Type.Object(
  {
    nodeId: Type.String({ description: 'the node that answers' }),
    clusterId: Type.String(),
    clusterName: Type.String(),
    incarnation: Type.String({ description: 'differs from one start of the node to the next' }),
    startedAt: Type.String({ description: 'ISO 8601, UTC' }),
    cluster: clusterStatusSchema,
    nodes: Type.Array(memberSchema),
    portalGroups: Type.Array(portalGroupSchema),
    placement: placementSchema,
    sessions: Type.Array(sessionSchema),
    images: Type.Array(heldImageSchema),
    integrity: integritySchema,
    counters: Type.Record(Type.String(), Type.Number(), {
      description: 'named event counts since the start',
    }),
    missing: Type.Array(Type.String(), {
      description: 'what this node lacks to do all of its work, each in words; empty when nothing',
    }),
  },
  { description: 'one node as it sees itself and its cluster, without asking the others' },
);
export type NodeStatusDocument = Static<typeof nodeStatusSchema>;
