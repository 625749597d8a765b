import type { Static, TSchema } from 'typebox';
import { Errors } from 'typebox/value';
import { OperationError } from './errors.ts';

/** What one value does not fit of its schema. */
export interface SchemaFault {
  /** As "ports.peer" or "macs[0]"; "" is the whole document. */
  readonly field: string;
  readonly message: string;
  readonly got: unknown;
  readonly accepted: string;
}

/** A schema as plain JSON Schema, so far as it is read here. */
interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly maxLength?: number;
}

/**
 * The value, typed, when it fits its schema. A schema's `description` is what a refusal tells as accepted.
 * @param what names the document in errors, as "bootfabric.yaml"
 * @throws OperationError kind "invalid", code "bad-value": names field, value and what is accepted
 */
export function checkSchema<S extends TSchema>(schema: S, value: unknown, what: string): Static<S> {
  const fault = findSchemaFault(schema, value);
  if (fault !== undefined) {
    throw new OperationError(`${what}: ${fault.message}`, {
      kind: 'invalid',
      code: 'bad-value',
      got: fault.got,
      accepted: fault.accepted,
    });
  }
  return value as Static<S>;
}

/** The first thing wrong with a value, or undefined when it fits. */
export function findSchemaFault(schema: TSchema, value: unknown): SchemaFault | undefined {
  const errors = Errors(schema, value);
  const first = errors[0];
  if (first === undefined) return undefined;
  const unknownKeys = errors.find((e) => e.keyword === 'additionalProperties');
  const missing = errors.find((e) => e.keyword === 'required');
  const chosen = unknownKeys ?? missing ?? first;
  const path = pointerParts(chosen.instancePath);
  const at = schemaAt(schema, path);
  const got = valueAt(value, path);
  if (chosen.keyword === 'required') {
    const key = (chosen.params as { requiredProperties: readonly string[] }).requiredProperties[0] ?? '';
    return {
      field: fieldName([...path, key]),
      message: `${fieldName([...path, key])} is missing`,
      got: undefined,
      accepted: describeAccepted(at?.properties?.[key]),
    };
  }
  if (chosen.keyword === 'additionalProperties') {
    const key = (chosen.params as { additionalProperties: readonly string[] }).additionalProperties[0] ?? '';
    return {
      field: fieldName([...path, key]),
      message: `${fieldName([...path, key])} is not known`,
      got: key,
      accepted: Object.keys(at?.properties ?? {}).join(', ') || 'no keys',
    };
  }
  const field = fieldName(path);
  const shown = field === '' ? 'the document' : field;
  return {
    field,
    message: `${shown} is ${shortened(got)}`,
    got,
    accepted: describeAccepted(at),
  };
}

function pointerParts(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function fieldName(path: readonly string[]): string {
  return path.reduce((name, part) => {
    if (/^\d+$/.test(part)) return `${name}[${part}]`;
    return name === '' ? part : `${name}.${part}`;
  }, '');
}

function schemaAt(schema: JsonSchema, path: readonly string[]): JsonSchema | undefined {
  let at: JsonSchema | undefined = schema;
  for (const part of path) {
    at = at?.properties?.[part] ?? at?.items;
  }
  return at;
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, part) =>
      typeof at === 'object' && at !== null ? (at as Readonly<Record<string, unknown>>)[part] : undefined,
    value,
  );
}

const SHOWN_CHARACTERS = 80;

function shortened(value: unknown): string {
  const text = JSON.stringify(value) ?? 'absent';
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}

function describeAccepted(schema: JsonSchema | undefined): string {
  if (schema === undefined) return 'nothing here';
  if (schema.description !== undefined) return schema.description;
  if (schema.anyOf !== undefined) return schema.anyOf.map((s) => describeAccepted(s)).join(' or ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === 'object') {
    return `an object with the keys ${Object.keys(schema.properties ?? {}).join(', ')}`;
  }
  if (schema.type === 'array') return `a list of ${describeAccepted(schema.items)}`;
  return describeScalar(schema);
}

function describeScalar(schema: JsonSchema): string {
  const kind =
    schema.type === 'string' ? 'text' : schema.type === 'null' ? 'null' : (schema.type ?? 'a value');
  const bounds = [
    schema.minimum === undefined ? '' : `at least ${schema.minimum}`,
    schema.maximum === undefined ? '' : `at most ${schema.maximum}`,
    schema.maxLength === undefined ? '' : `of at most ${schema.maxLength} characters`,
    schema.pattern === undefined ? '' : `matching ${schema.pattern}`,
  ].filter((part) => part !== '');
  return [kind, ...bounds].join(' ');
}
