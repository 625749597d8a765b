import Type, { type Static } from 'typebox';
import { nameSchema } from './values.ts';

export const groupStartParamsSchema = Type.Object({ id: nameSchema });

export const groupStartSchema = Type.Object(
  {
    node: nameSchema,
    acceptDataLoss: Type.Literal(true, {
      description: 'true, said on purpose: what only the copies that are lost hold is given up',
    }),
    acceptHoles: Type.Optional(
      Type.Literal(true, {
        description: 'true: also from a copy that lacks blocks in the middle, or of which that is not known',
      }),
    ),
  },
  { additionalProperties: false },
);

/** What one copy of a portal group lacks by its own log; what it was never sent nobody can tell from it. */
const copyReportSchema = Type.Object({
  epoch: Type.Integer({ description: 'in which the primary of its last record took office' }),
  nextIndex: Type.Integer({ description: 'the number of the first record that it does not have' }),
  missingRecords: Type.Integer({ description: 'records at its end that its own list of disks knows of' }),
  openVoids: Type.Integer({ description: 'records left out of which it lacks what superseded them' }),
  missingBlocks: Type.Array(Type.Object({ lunId: Type.Integer(), blockCount: Type.Integer() }), {
    description: 'by LUN, blocks of 4 KiB that are older than what is around them',
  }),
  damagedBlocks: Type.Optional(
    Type.Array(Type.Object({ lunId: Type.Integer(), blockCount: Type.Integer() }), {
      description: 'by LUN, blocks of 4 KiB that are damaged; absent from nodes of an earlier version',
    }),
  ),
  emptyLuns: Type.Array(Type.Integer(), { description: 'disks of which it has nothing' }),
  unnamedVoids: Type.Integer({ description: 'of openVoids, those that do not say which blocks they were' }),
});
export type CopyReportDocument = Static<typeof copyReportSchema>;

export const copyReadingSchema = Type.Union([
  Type.Object({ kind: Type.Literal('none') }),
  Type.Object({
    kind: Type.Literal('reading'),
    readRecords: Type.Integer(),
    totalRecords: Type.Integer(),
  }),
  Type.Object({ kind: Type.Literal('read'), report: copyReportSchema }),
  Type.Object({ kind: Type.Literal('failed'), reason: Type.String() }),
]);
/** none: that node has no such copy open. reading: it is being read through, ask again. */
export type CopyReadingDocument = Static<typeof copyReadingSchema>;

export const groupStartedSchema = Type.Object({
  group: Type.String(),
  node: Type.String(),
  epoch: Type.Integer({ description: 'in which it leads' }),
  givenUp: Type.Optional(
    Type.Array(Type.String(), {
      description:
        'nodes of the copies that were in sync: what only these had is lost. Absent in earlier versions',
    }),
  ),
  lacking: Type.Union([Type.String(), Type.Null()], {
    description:
      'what the copy lacks beside what only the lost ones had, in words; null: nothing that it knows of',
  }),
});
export type GroupStartedDocument = Static<typeof groupStartedSchema>;
