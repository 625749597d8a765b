import Type, { type Static } from 'typebox';
import { nameSchema } from './values.ts';

export const newPortalGroupSchema = Type.Object(
  {
    id: Type.Optional(nameSchema),
    address: Type.String({ maxLength: 15, description: 'an IPv4 address that nothing else has' }),
    port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, description: 'a port, 1 to 65535' })),
    replicas: Type.Optional(
      Type.Array(nameSchema, { minItems: 1, maxItems: 9, description: 'the nodes to keep a copy' }),
    ),
    ofFormerNode: Type.Optional(
      Type.Boolean({ description: 'whether the address may be one that a removed node had' }),
    ),
  },
  {
    additionalProperties: false,
    description: 'an object with address, and id, port and replicas where the usual ones will not do',
  },
);

export const addedPortalGroupSchema = Type.Object({
  id: Type.String(),
  portal: Type.String({ description: 'ADDRESS:PORT, movable' }),
  replicas: Type.Array(Type.String()),
});
export type AddedPortalGroupDocument = Static<typeof addedPortalGroupSchema>;

export const removedPortalGroupSchema = Type.Object({ id: Type.String() });
