import Type, { type Static } from 'typebox';
import { NAME_WORDS, nameSchema } from './values.ts';

/** What administrators say of how things are to be: of nodes, of the cluster, of single portal groups. */

const orOwn = <S extends Parameters<typeof Type.Union>[0][number]>(schema: S, what: string) =>
  Type.Optional(
    Type.Union([schema, Type.Null()], { description: `${what}, or null: what its own settings say` }),
  );

export const nodePlacementSchema = Type.Object(
  {
    weight: orOwn(Type.Integer({ minimum: 1, maximum: 1000 }), 'a whole number from 1 to 1000'),
    rack: orOwn(nameSchema, `the name of its rack, or of whatever else fails together (${NAME_WORDS})`),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    description: 'an object with weight (1 to 1000), rack (a name) or both; null: what its own settings say',
  },
);

const switchSchema = Type.Union([Type.Literal('on'), Type.Literal('off')], { description: '"on" or "off"' });
const secondsSchema = Type.Integer({
  minimum: 0,
  maximum: 604_800,
  description: 'a whole number of seconds, 0 to 604800',
});

export const clusterSettingsSchema = Type.Object({
  replicasPerGroup: Type.Integer({
    description: 'copies of each portal group, where there are as many nodes',
  }),
  rebalance: switchSchema,
  rebalanceDelaySeconds: Type.Number({
    description: 'how long the cluster must have been calm before portal groups are moved for balance',
  }),
  replaceAfterSeconds: Type.Number({
    description: 'how long a node may be down before its copies are made anew on others',
  }),
  catchUpMebibytesPerSecond: Type.Number({
    description:
      'what a node sends each second, at most, to all copies together that catch up, and what it takes in',
  }),
});
export type ClusterSettingsDocument = Static<typeof clusterSettingsSchema>;

export const newClusterSettingsSchema = Type.Object(
  {
    replicasPerGroup: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 9, description: 'a whole number from 1 to 9' }),
    ),
    rebalance: Type.Optional(switchSchema),
    rebalanceDelaySeconds: Type.Optional(secondsSchema),
    replaceAfterSeconds: Type.Optional(secondsSchema),
    catchUpMebibytesPerSecond: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 2048, description: 'a whole number of MiB a second, 1 to 2048' }),
    ),
  },
  { additionalProperties: false, minProperties: 1, description: 'an object with the settings to change' },
);
export type NewClusterSettingsDocument = Static<typeof newClusterSettingsSchema>;

const durabilitySchema = Type.Union([Type.Literal('write-back'), Type.Literal('durable')], {
  description:
    '"write-back" (a write is acknowledged when all members in sync have it, SYNCHRONIZE CACHE makes it ' +
    'durable) or "durable" (it is on all their disks before it is acknowledged)',
});

export const newGroupPolicySchema = Type.Object(
  {
    minInSync: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 9, description: 'a whole number from 1 to the number of copies' }),
    ),
    durability: Type.Optional(durabilitySchema),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    description: 'an object with minInSync, durability or both',
  },
);
export type NewGroupPolicyDocument = Static<typeof newGroupPolicySchema>;

export const groupPolicySchema = Type.Object({
  id: Type.String(),
  minInSync: Type.Integer({ description: 'writes wait while fewer members than this are in sync' }),
  durability: durabilitySchema,
});
