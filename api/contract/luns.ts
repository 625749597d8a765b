import Type, { type Static } from 'typebox';
import { writeCacheSchema } from './values.ts';

const lunSchema = Type.Object(
  {
    lunId: Type.Integer(),
    client: Type.String(),
    targetName: Type.String(),
    image: Type.String(),
    imageVersion: Type.Union([Type.Integer(), Type.Null()], {
      description: 'the version it is made of; null: not decided before the next boot',
    }),
    sizeBytes: Type.Union([Type.Integer(), Type.Null()]),
    writeCache: writeCacheSchema,
    writtenBytes: Type.Union([Type.Integer(), Type.Null()], {
      description: 'what the write cache holds; null: this node has no replica of it',
    }),
    portalGroup: Type.String(),
    portal: Type.String({ description: 'ADDRESS:PORT' }),
    primary: Type.Union([Type.String(), Type.Null()], { description: 'the node that serves it; null: none' }),
    sessions: Type.Integer({ description: 'iSCSI sessions at this node' }),
  },
  { description: 'what one client sees as a disk' },
);
export type LunDocument = Static<typeof lunSchema>;

export const lunListSchema = Type.Object({ luns: Type.Array(lunSchema) });
export type LunListDocument = Static<typeof lunListSchema>;
