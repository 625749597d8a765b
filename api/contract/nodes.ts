import Type, { type Static } from 'typebox';
import { nameSchema } from './values.ts';

export const nodeParamsSchema = Type.Object({ id: nameSchema });
export const portalGroupParamsSchema = Type.Object({ id: nameSchema });

const nodeSchema = Type.Object(
  {
    nodeId: Type.String(),
    address: Type.String({ description: 'HOST:PORT of its API' }),
    status: Type.Union([Type.Literal('new'), Type.Literal('up'), Type.Literal('fenced')]),
    draining: Type.Boolean({ description: 'whether everything it leads is to move away' }),
    replacedBy: Type.Union([Type.String(), Type.Null()], { description: 'the node that takes its place' }),
    weight: Type.Integer({ description: "its share of copies and primaries beside the others'" }),
    rack: Type.Union([Type.String(), Type.Null()], {
      description: 'what fails together with it; null: it is not known to share a fate with any other node',
    }),
    leads: Type.Array(Type.String(), { description: 'portal groups of which it is the primary' }),
    replicas: Type.Array(Type.String(), { description: 'portal groups of which it keeps a copy' }),
    obstacles: Type.Array(Type.String(), {
      description: 'why it cannot be removed now, each in words; empty: it can be',
    }),
  },
  { description: 'one node of the cluster' },
);
export type NodeDocument = Static<typeof nodeSchema>;

const joinTokenSchema = Type.Object({
  id: Type.String(),
  expiresAt: Type.String({ description: 'ISO 8601, UTC' }),
  usedBy: Type.Union([Type.String(), Type.Null()], { description: 'the node that has joined by it' }),
});

const auditSchema = Type.Object({
  at: Type.String({ description: 'ISO 8601, UTC' }),
  event: Type.String(),
  detail: Type.String(),
});

export const nodeListSchema = Type.Object({
  nodes: Type.Array(nodeSchema),
  removed: Type.Array(
    Type.Object({
      nodeId: Type.String(),
      removedAt: Type.String(),
      votes: Type.Boolean({
        description:
          'whether the others may need its vote still: its process is to run until it ends by itself',
      }),
    }),
  ),
  joinTokens: Type.Array(joinTokenSchema),
  audit: Type.Array(auditSchema, { description: 'what was done to the membership, the newest last' }),
});
export type NodeListDocument = Static<typeof nodeListSchema>;

export const newJoinTokenSchema = Type.Object(
  {
    lifetimeSeconds: Type.Optional(
      Type.Integer({ minimum: 60, maximum: 604_800, description: '60 to 604800 seconds' }),
    ),
  },
  { additionalProperties: false, description: 'an object with optionally lifetimeSeconds' },
);

export const createdJoinTokenSchema = Type.Object({
  id: Type.String(),
  token: Type.String({ description: 'shown this once only' }),
  expiresAt: Type.String({ description: 'ISO 8601, UTC' }),
});

export const replacementSchema = Type.Object(
  { replacement: nameSchema },
  { additionalProperties: false, description: 'an object with replacement, the id of another node' },
);

export const destinationSchema = Type.Object(
  { to: nameSchema },
  { additionalProperties: false, description: 'an object with to, the id of an in-sync member' },
);

export const movedGroupSchema = Type.Object({
  id: Type.String(),
  primary: Type.Union([Type.String(), Type.Null()]),
  epoch: Type.Integer(),
});

export const joinTokenParamsSchema = Type.Object({ id: nameSchema });

/** The whole configuration, as a file that "bootfabric restore" takes. */
export const backupSchema = Type.Object({
  format: Type.Literal('bootfabric-backup'),
  version: Type.Integer(),
  clusterId: Type.String(),
  clusterName: Type.String(),
  takenAt: Type.String({ description: 'ISO 8601, UTC' }),
  sha256: Type.String({ description: 'of the text of `state`, hexadecimal' }),
  state: Type.String({ description: 'the configuration as JSON text' }),
});
export type BackupDocument = Static<typeof backupSchema>;
