import Type, { type Static } from 'typebox';
import { nameSchema } from './values.ts';

/**
 * What a host asks that is no node yet. It has no token of an administrator and no certificate, so these two
 * routes are open to everyone who can reach the port: the first tells nothing secret, and the second lets nobody in
 * who does not show the secret of a join token.
 */
export const JOIN_PREFIX = '/join/v1';

export const joinRoutes = {
  /** GET: the authority's certificate, which the asker compares with the hash in its token. */
  authority: `${JOIN_PREFIX}/authority`,
  /** POST */
  nodes: `${JOIN_PREFIX}/nodes`,
} as const;

export const authoritySchema = Type.Object({
  clusterId: Type.String(),
  certificate: Type.String({ description: 'PEM' }),
});

const endpointSchema = Type.String({
  pattern: '^[0-9.]{7,15}:[0-9]{1,5}$',
  description: 'ADDRESS:PORT such as 192.0.2.14:7400',
});

const endpointsSchema = Type.Object(
  {
    peer: endpointSchema,
    replication: endpointSchema,
    api: endpointSchema,
    http: endpointSchema,
    tftp: endpointSchema,
    iscsi: endpointSchema,
  },
  {
    additionalProperties: false,
    description: 'the addresses of peer, replication, api, http, tftp and iscsi',
  },
);

export const joinRequestSchema = Type.Object(
  {
    secret: Type.String({ minLength: 1, maxLength: 256, description: 'the secret of a join token' }),
    nodeId: nameSchema,
    address: Type.String({ maxLength: 15, description: 'the IPv4 address of the new node' }),
    endpoints: endpointsSchema,
    portalInterface: Type.Union([Type.String({ maxLength: 15 }), Type.Null()], {
      description: 'the interface that is to carry portal addresses, or null',
    }),
    publicKey: Type.String({ maxLength: 1024, description: 'a P-256 public key in PEM' }),
    proof: Type.String({ maxLength: 512, description: 'a signature by the key, in base64' }),
  },
  { additionalProperties: false, description: 'a request to join' },
);
export type JoinRequestDocument = Static<typeof joinRequestSchema>;

const memberSchema = Type.Object({
  nodeId: Type.String(),
  raftId: Type.Integer({ minimum: 1 }),
  endpoints: endpointsSchema,
});

/** Everything that a node of the cluster has in its directory. */
export const joinAnswerSchema = Type.Object({
  clusterName: Type.String(),
  clusterId: Type.String(),
  raftId: Type.Integer({ minimum: 1 }),
  certificate: Type.String(),
  authority: Type.String(),
  authorityKey: Type.String(),
  clusterSecret: Type.String(),
  /** The state from which every cluster log begins, as text. */
  genesis: Type.String(),
  members: Type.Array(memberSchema),
});
export type JoinAnswerDocument = Static<typeof joinAnswerSchema>;

/** What a node tells another that asks whom the cluster consists of. */
export const membersSchema = Type.Object({
  members: Type.Array(memberSchema),
  removed: Type.Array(Type.String()),
});
export type MembersDocument = Static<typeof membersSchema>;

/** What a node that joins signs with its key, to show that it has the private half. */
export function joinStatement(clusterId: string, nodeId: string, secretSha256: string): string {
  return `bootfabric join\n${clusterId}\n${nodeId}\n${secretSha256}\n`;
}
