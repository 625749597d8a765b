import Type, { type Static } from 'typebox';
import { MAX_MACS_PER_CLIENT, MAX_SOURCES_PER_CLIENT } from './limits.ts';
import { nameSchema, versionSchema, writeCacheSchema } from './values.ts';

const chapModeSchema = Type.Union([Type.Literal('off'), Type.Literal('one-way'), Type.Literal('mutual')], {
  description:
    '"off", "one-way" (its initiator proves itself) or "mutual" (the target does as well, to the initiator)',
});
export type ChapMode = Static<typeof chapModeSchema>;

const sourcesSchema = Type.Array(
  Type.String({ maxLength: 18, description: 'an IPv4 address or a subnet such as 192.0.2.0/24' }),
  {
    maxItems: MAX_SOURCES_PER_CLIENT,
    description: `a list of at most ${MAX_SOURCES_PER_CLIENT} IPv4 addresses and subnets; none: anywhere`,
  },
);

const multipathSchema = Type.Boolean({
  description:
    'whether its disk is shown at the portals of all nodes that keep a copy, for an initiator with multipath software',
});

export const newClientSchema = Type.Object(
  {
    name: nameSchema,
    macs: Type.Array(
      Type.String({ maxLength: 32, description: 'a MAC address such as 52:54:00:12:34:56, in any spelling' }),
      {
        minItems: 1,
        maxItems: MAX_MACS_PER_CLIENT,
        description: `a list of 1 to ${MAX_MACS_PER_CLIENT} MAC addresses`,
      },
    ),
    image: nameSchema,
    imageVersion: Type.Optional(versionSchema),
    writeCache: Type.Optional(writeCacheSchema),
    address: Type.Optional(
      Type.String({ maxLength: 15, description: 'an IPv4 address of the range this cluster hands out' }),
    ),
    portalGroup: Type.Optional(nameSchema),
    chap: Type.Optional(chapModeSchema),
    sources: Type.Optional(sourcesSchema),
    multipath: Type.Optional(multipathSchema),
  },
  {
    additionalProperties: false,
    description:
      'an object with name, macs, image and optionally imageVersion, writeCache, address, portalGroup, chap, ' +
      'sources, multipath',
  },
);
export type NewClientDocument = Static<typeof newClientSchema>;

export const clientSchema = Type.Object(
  {
    name: Type.String(),
    macs: Type.Array(Type.String()),
    image: Type.String(),
    imageVersion: Type.Union([Type.Integer(), Type.Null()], { description: 'null: the newest at each boot' }),
    writeCache: writeCacheSchema,
    portalGroup: Type.String(),
    portal: Type.String({ description: 'ADDRESS:PORT at which its disk is served' }),
    lunId: Type.Integer(),
    address: Type.Union([Type.String(), Type.Null()], { description: 'reserved for it; null: none' }),
    targetName: Type.String(),
    initiatorName: Type.String(),
    chap: chapModeSchema,
    chapAwaitsBoot: Type.Boolean({
      description:
        'whether what its running system logs in with is still good beside what it gets at its next boot',
    }),
    sources: Type.Union([Type.Array(Type.String()), Type.Null()], {
      description: 'addresses and subnets its initiator may come from; null: anywhere',
    }),
    multipath: multipathSchema,
    paths: Type.Array(Type.String(), {
      description:
        'ADDRESS:PORT,TAG of every portal that shows its disk, as an initiator is told of it; the first one moves',
    }),
  },
  { description: 'one machine that boots' },
);
export type ClientDocument = Static<typeof clientSchema>;

export const clientListSchema = Type.Object({ clients: Type.Array(clientSchema) });
export type ClientListDocument = Static<typeof clientListSchema>;

export const clientParamsSchema = Type.Object({ name: nameSchema });

export const newChapSchema = Type.Object(
  {
    mode: Type.Optional(chapModeSchema),
    revoke: Type.Optional(
      Type.Boolean({
        description:
          'true: what was good before is not any more, for a running system either, whose session ends',
      }),
    ),
    reveal: Type.Optional(
      Type.Boolean({ description: 'true: answer with the new secrets, which are not shown again' }),
    ),
  },
  { additionalProperties: false, description: 'an object with optionally mode, revoke, reveal' },
);
export type NewChapDocument = Static<typeof newChapSchema>;

const secretSchema = Type.Union([
  Type.Object({ username: Type.String(), secret: Type.String() }),
  Type.Null(),
]);

export const chapChangedSchema = Type.Object({
  client: clientSchema,
  initiator: secretSchema,
  target: secretSchema,
});
export type ChapChangedDocument = Static<typeof chapChangedSchema>;

export const newSourcesSchema = Type.Object(
  { sources: sourcesSchema },
  { additionalProperties: false, description: 'an object with sources' },
);

export const newMultipathSchema = Type.Object(
  { enabled: multipathSchema },
  { additionalProperties: false, description: 'an object with enabled' },
);
