import Type, { type Static } from 'typebox';
import { MAX_MACS_PER_CLIENT } from './limits.ts';
import { nameSchema, versionSchema, writeCacheSchema } from './values.ts';

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
  },
  {
    additionalProperties: false,
    description:
      'an object with name, macs, image and optionally imageVersion, writeCache, address, portalGroup',
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
  },
  { description: 'one machine that boots' },
);
export type ClientDocument = Static<typeof clientSchema>;

export const clientListSchema = Type.Object({ clients: Type.Array(clientSchema) });
export type ClientListDocument = Static<typeof clientListSchema>;

export const clientParamsSchema = Type.Object({ name: nameSchema });
