import Type, { type Static } from 'typebox';
import { fileNameSchema, nameSchema, versionSchema } from './values.ts';

/**
 * What nodes ask of each other, over the same port as the API and let in by their certificates. Not for
 * administrators, so not in OpenAPI. Content is answered as bytes, 404 when the asked node does not hold it.
 */
export const PEER_PREFIX = '/peer/v1';

export const peerRoutes = {
  imageManifest: {
    path: `${PEER_PREFIX}/images/:name/versions/:version/manifest`,
    params: Type.Object({ name: nameSchema, version: versionSchema }),
  },
  imageChunk: {
    path: `${PEER_PREFIX}/images/:name/versions/:version/chunks/:index`,
    params: Type.Object({
      name: nameSchema,
      version: versionSchema,
      index: Type.Integer({
        minimum: 0,
        maximum: 2 ** 32 - 1,
        description: 'the number of a chunk, from 0 on',
      }),
    }),
  },
  bootFile: {
    path: `${PEER_PREFIX}/boot-files/:name/:sha256`,
    params: Type.Object({
      name: fileNameSchema,
      sha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: '64 lower-case hexadecimal digits' }),
    }),
  },
  /** GET: whom the cluster consists of, for a node that has been away; see contract/join.ts. */
  members: { path: `${PEER_PREFIX}/members` },
  /** GET: what this node's copy of a portal group lacks, as far as that is known; see contract/group-start.ts. */
  copy: { path: `${PEER_PREFIX}/portal-groups/:id/copy`, params: Type.Object({ id: nameSchema }) },
  /** GET: which disks that this node serves are over a version of an image. */
  imageUse: {
    path: `${PEER_PREFIX}/images/:name/versions/:version/use`,
    params: Type.Object({ name: nameSchema, version: versionSchema }),
  },
  /** POST: a client is about to boot, and its disk is to be made ready by the node that serves it. */
  beginBoot: {
    path: `${PEER_PREFIX}/clients/:name/begin-boot`,
    params: Type.Object({ name: nameSchema }),
  },
} as const;

export const imageUseSchema = Type.Object({
  groups: Type.Array(
    Type.Object(
      { group: Type.String(), lunIds: Type.Array(Type.Integer()) },
      { description: 'one it serves' },
    ),
  ),
});
export type ImageUseDocument = Static<typeof imageUseSchema>;

export const beginBootAnswerSchema = Type.Union([
  Type.Object({ kind: Type.Literal('ready') }),
  Type.Object({ kind: Type.Literal('not-serving') }),
  Type.Object({ kind: Type.Literal('refused'), reason: Type.String() }),
]);
/** ready: the disk can be attached. not-serving: this node does not serve it (any more). */
export type BeginBootDocument = Static<typeof beginBootAnswerSchema>;

/** A path of this table with its parameters filled in. */
export function fillPath(path: string, params: Readonly<Record<string, unknown>>): string {
  return path.replaceAll(/:([a-zA-Z0-9]+)/g, (_, name: string) => encodeURIComponent(String(params[name])));
}
