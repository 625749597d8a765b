import Type from 'typebox';
import { fileNameSchema, nameSchema, versionSchema } from './values.ts';

/**
 * What nodes fetch from each other, over the same port as the API and let in by their certificates. Not for
 * administrators, so not in OpenAPI. Every answer is bytes; 404 when the asked node does not hold them.
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
} as const;

/** A path of this table with its parameters filled in. */
export function fillPath(path: string, params: Readonly<Record<string, unknown>>): string {
  return path.replaceAll(/:([a-zA-Z0-9]+)/g, (_, name: string) => encodeURIComponent(String(params[name])));
}
