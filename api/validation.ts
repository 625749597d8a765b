import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
import { findSchemaFault } from '../base/schema-check.ts';
import { ApiError } from './api-error.ts';

/** Checks path, query and body against the contract; a refusal names field, value and what is accepted. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> =
  ({ schema, httpPart }) =>
  (data: unknown) => {
    const value = httpPart === 'body' ? data : numbersOf(schema, data);
    const fault = findSchemaFault(schema, value);
    if (fault === undefined) return { value };
    const error = new ApiError('bad-value', `in the ${partName(httpPart)}, ${fault.message}`, {
      got: fault.got,
      accepted: fault.accepted,
    });
    return { error };
  };

interface PropertiesSchema {
  readonly properties?: Readonly<Record<string, { readonly type?: string }>>;
}

/** Paths and queries are text; where the contract wants an integer, digits become one. */
function numbersOf(schema: PropertiesSchema, data: unknown): unknown {
  if (typeof data !== 'object' || data === null) return data;
  return Object.fromEntries(
    Object.entries(data as Readonly<Record<string, unknown>>).map(([key, value]) => {
      const wanted = schema.properties?.[key]?.type === 'integer';
      const digits = wanted && typeof value === 'string' && /^\d{1,15}$/.test(value);
      return [key, digits ? Number(value) : value];
    }),
  );
}

function partName(httpPart: string | undefined): string {
  if (httpPart === 'params') return 'path';
  return httpPart === 'querystring' ? 'query' : 'body';
}
