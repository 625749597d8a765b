import Type, { type Static } from 'typebox';
import { MAX_IMAGE_BYTES, SECTOR_BYTES } from './limits.ts';
import { nameSchema, versionSchema } from './values.ts';

export const imageVersionSchema = Type.Object(
  {
    image: Type.String(),
    version: Type.Integer(),
    sizeBytes: Type.Integer(),
    chunkSizeBytes: Type.Integer(),
    manifestSha256: Type.String({
      description: 'SHA-256 over the list of the chunks’ SHA-256s, hexadecimal',
    }),
    createdAt: Type.String({ description: 'ISO 8601, UTC' }),
    holders: Type.Array(Type.String(), { description: 'nodes that hold all of it, verified' }),
    awaited: Type.Array(Type.String(), { description: 'nodes that are up and do not hold all of it yet' }),
    absent: Type.Array(Type.String(), { description: 'nodes that do not hold it and are not up' }),
  },
  { description: 'one immutable version of an image, and where it is' },
);
export type ImageVersionDocument = Static<typeof imageVersionSchema>;

export const imageListSchema = Type.Object({
  images: Type.Array(Type.Object({ name: Type.String(), versions: Type.Array(imageVersionSchema) })),
});
export type ImageListDocument = Static<typeof imageListSchema>;

export const imageParamsSchema = Type.Object({ name: nameSchema });
export const imageVersionParamsSchema = Type.Object({ name: nameSchema, version: versionSchema });

export const importQuerySchema = Type.Object(
  {
    sizeBytes: Type.Integer({
      minimum: SECTOR_BYTES,
      maximum: MAX_IMAGE_BYTES,
      multipleOf: SECTOR_BYTES,
      description: `the size of the disk in bytes: a multiple of ${SECTOR_BYTES}, at most ${MAX_IMAGE_BYTES}`,
    }),
  },
  { additionalProperties: false },
);

export const removedImageVersionSchema = Type.Object(
  { image: Type.String(), version: Type.Integer() },
  { description: 'the version that is no more; nodes remove its files by and by' },
);
export type RemovedImageVersionDocument = Static<typeof removedImageVersionSchema>;

export const importedSchema = Type.Object(
  { image: Type.String(), version: Type.Integer() },
  { description: 'the version made; the one that exists when the newest has the same content' },
);
