import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { API_ERRORS, HTTP_STATUS } from '../../../api/contract/errors.ts';
import { fillPath, peerRoutes } from '../../../api/contract/peer-content.ts';
import { type Route, routePath, routes } from '../../../api/contract/routes.ts';
import { findSchemaFault } from '../../../base/schema-check.ts';
import { SAMPLE_LUN, SAMPLE_STATUS } from '../../support/fake-node-services.ts';

const allRoutes = Object.entries(routes) as [string, Route][];
const API_DIRECTORY = join(import.meta.dirname, '../../../api');

function sources(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return sources(path);
    return entry.name.endsWith('.ts') ? [readFileSync(path, 'utf8')] : [];
  });
}

describe('the contract', () => {
  it.each(allRoutes)('%s declares every parameter of its path', (_name, route) => {
    const inPath = [...route.path.matchAll(/:(\w+)/g)].map((m) => m[1]);
    expect(inPath).toEqual(Object.keys(route.params?.properties ?? {}));
  });

  it('has each method and path once', () => {
    const keys = allRoutes.map(([, route]) => `${route.method} ${route.path}`);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('fills paths in, escaping what would change them', () => {
    expect(routePath(routes.importImage, { name: 'a' }, { sizeBytes: 512 })).toBe(
      '/api/v1/images/a/versions?sizeBytes=512',
    );
    expect(routePath(routes.getClient, { name: '../x?y' }, { consistency: undefined })).toBe(
      '/api/v1/clients/..%2Fx%3Fy',
    );
    expect(fillPath(peerRoutes.imageChunk.path, { name: 'a', version: 2, index: 3 })).toBe(
      '/peer/v1/images/a/versions/2/chunks/3',
    );
  });

  it('fits the documents the other tests use', () => {
    expect(findSchemaFault(routes.getStatus.response, SAMPLE_STATUS)).toBeUndefined();
    expect(findSchemaFault(routes.listLuns.response, { luns: [SAMPLE_LUN] })).toBeUndefined();
  });
});

describe('the error codes', () => {
  it('are all used', () => {
    const text = sources(API_DIRECTORY).join('\n');
    const used = new Set([...text.matchAll(/(?:new ApiError\(\s*|code: )'([a-z-]+)'/g)].map((m) => m[1]));
    for (const code of Object.keys(API_ERRORS)) expect(used, code).toContain(code);
  });

  it('have the status of a kind, or one of their own', () => {
    const known = new Set([...Object.values(HTTP_STATUS), 415, 500]);
    for (const [code, { status }] of Object.entries(API_ERRORS)) expect(known.has(status), code).toBe(true);
  });
});
