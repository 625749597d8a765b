import Type, { type Static } from 'typebox';
import { fileNameSchema } from './values.ts';

const bootFileSchema = Type.Object(
  {
    name: Type.String(),
    sizeBytes: Type.Integer(),
    sha256: Type.String({ description: 'hexadecimal' }),
    holders: Type.Array(Type.String(), { description: 'nodes that hold it, verified' }),
  },
  { description: 'a network boot program, served by TFTP and HTTP' },
);
export type BootFileDocument = Static<typeof bootFileSchema>;

export const bootFileListSchema = Type.Object({ bootFiles: Type.Array(bootFileSchema) });

export const addedBootFileSchema = Type.Object({
  name: Type.String(),
  sizeBytes: Type.Integer(),
  sha256: Type.String(),
});
export type AddedBootFileDocument = Static<typeof addedBootFileSchema>;

export const bootFileParamsSchema = Type.Object({ name: fileNameSchema });

export const removedBootFileSchema = Type.Object({ name: Type.String() });
export type RemovedBootFileDocument = Static<typeof removedBootFileSchema>;
