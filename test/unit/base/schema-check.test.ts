import Type from 'typebox';
import { describe, expect, it } from 'vitest';
import { errorDocument, errorText } from '../../../base/error-text.ts';
import { OperationError } from '../../../base/errors.ts';
import { checkSchema, findSchemaFault } from '../../../base/schema-check.ts';

const schema = Type.Object(
  {
    count: Type.Integer({ minimum: 1, maximum: 9 }),
    color: Type.Union([Type.Literal('red'), Type.Literal('blue')]),
    names: Type.Optional(Type.Array(Type.String({ maxLength: 3 }))),
    inner: Type.Optional(Type.Object({ deep: Type.Boolean({ description: 'yes or no' }) })),
  },
  { additionalProperties: false },
);
const good = { count: 1, color: 'red' };

describe('checking a value against a schema', () => {
  it('gives the very value back when it fits', () => {
    expect(checkSchema(schema, good, 'it')).toBe(good);
    expect(findSchemaFault(schema, { ...good, names: ['a'], inner: { deep: true } })).toBeUndefined();
  });

  it.each([
    [{ color: 'red' }, 'count', 'count is missing', undefined, 'integer at least 1 at most 9'],
    [{ ...good, count: 10 }, 'count', 'count is 10', 10, 'integer at least 1 at most 9'],
    [{ ...good, count: 1.5 }, 'count', 'count is 1.5', 1.5, 'integer at least 1 at most 9'],
    [{ ...good, color: 'green' }, 'color', 'color is "green"', 'green', '"red" or "blue"'],
    [{ ...good, names: 'a' }, 'names', 'names is "a"', 'a', 'a list of text of at most 3 characters'],
    [
      { ...good, names: ['a', 'long'] },
      'names[1]',
      'names[1] is "long"',
      'long',
      'text of at most 3 characters',
    ],
    [{ ...good, inner: {} }, 'inner.deep', 'inner.deep is missing', undefined, 'yes or no'],
    [{ ...good, inner: { deep: 0 } }, 'inner.deep', 'inner.deep is 0', 0, 'yes or no'],
    [{ ...good, 'a/b~c': 1 }, 'a/b~c', 'a/b~c is not known', 'a/b~c', 'count, color, names, inner'],
    [7, '', 'the document is 7', 7, 'an object with the keys count, color, names, inner'],
    [
      undefined,
      '',
      'the document is absent',
      undefined,
      'an object with the keys count, color, names, inner',
    ],
  ])('of %j names field, value and what is accepted', (value, field, message, got, accepted) => {
    expect(findSchemaFault(schema, value)).toEqual({ field, message, got, accepted });
  });

  it('shortens what it shows of a long value', () => {
    const fault = findSchemaFault(schema, { ...good, names: ['x'.repeat(1000)] });
    expect(fault?.message.length).toBeLessThan(120);
  });

  it('throws with the name of the document', () => {
    expect(() => checkSchema(schema, { ...good, count: 0 }, 'file.yaml')).toThrow('file.yaml: count is 0');
  });
});

describe('an error as text', () => {
  it('has what was wrong, got and accepted on lines of their own', () => {
    const error = new OperationError('it is wrong', {
      kind: 'invalid',
      code: 'x',
      got: [1],
      accepted: 'two',
    });
    expect(errorText(errorDocument(error))).toBe('error: it is wrong\n  got:      [1]\n  accepted: two\n');
  });

  it('tells of anything else thrown what it says', () => {
    expect(errorDocument(new Error('broken'))).toEqual({ error: { code: 'failed', message: 'broken' } });
  });
});
