import Type from 'typebox';

/** Fields that several documents share. A description says what is accepted; refusals quote it. */

/** What a name is made of. */
export const NAME_WORDS =
  'up to 63 lower-case letters, digits and hyphens, the first of them a letter or digit';

export const nameSchema = Type.String({
  pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
  description: NAME_WORDS,
});

export const fileNameSchema = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$',
  description: 'up to 63 letters, digits, dots, hyphens and underscores, the first of them a letter or digit',
});

export const versionSchema = Type.Integer({
  minimum: 1,
  maximum: 1_000_000,
  description: 'the number of a version, from 1 on',
});

export const writeCacheSchema = Type.Union([Type.Literal('discard'), Type.Literal('keep')], {
  description: '"discard" (dropped at each boot) or "keep" (persists)',
});

/** How fresh an answer must be. */
const consistencySchema = Type.Optional(
  Type.Union([Type.Literal('linearizable'), Type.Literal('local')], {
    description:
      '"linearizable" (as all nodes agree, the default) or "local" (as this node knows, even without a majority)',
  }),
);

export const readQuerySchema = Type.Object(
  { consistency: consistencySchema },
  { additionalProperties: false },
);
