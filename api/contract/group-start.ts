import Type, { type Static } from 'typebox';
import { nameSchema } from './values.ts';

export const groupStartParamsSchema = Type.Object({ id: nameSchema });

export const groupStartSchema = Type.Object(
  {
    node: nameSchema,
    acceptDataLoss: Type.Literal(true, {
      description: 'true, said on purpose: what only the copies that are lost hold is given up',
    }),
  },
  { additionalProperties: false },
);

export const groupStartedSchema = Type.Object({
  group: Type.String(),
  node: Type.String(),
  epoch: Type.Integer({ description: 'in which it leads' }),
});
export type GroupStartedDocument = Static<typeof groupStartedSchema>;
