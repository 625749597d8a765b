import { ProtocolError } from '../../base/errors.ts';
import { type MacAddress, parseMacAddress } from '../../base/mac-address.ts';
import { URL_CHARACTERS_MAX } from './limits.ts';

/** What a request is for. */
export type Route =
  /** first: the one that only says where to ask for the other, which begins a boot. */
  | { readonly kind: 'first' | 'script'; readonly mac: MacAddress; readonly token: string }
  | { readonly kind: 'file'; readonly name: string }
  | { readonly kind: 'method-not-allowed'; readonly allow: string }
  | { readonly kind: 'not-found' };

/** @param target as in the request line: path and query */
export function routeOf(method: string, target: string): Route {
  if (target.length > URL_CHARACTERS_MAX) return { kind: 'not-found' };
  const [path = '', query = ''] = splitOnce(target, '?');
  const file = /^\/files\/([A-Za-z0-9_][A-Za-z0-9._-]*)$/.exec(path)?.[1];
  if (file !== undefined) {
    return method === 'GET' || method === 'HEAD'
      ? { kind: 'file', name: file }
      : { kind: 'method-not-allowed', allow: 'GET, HEAD' };
  }
  const [, which, client] = /^\/(first|boot)\/([0-9A-Fa-f:.-]{12,17})$/.exec(path) ?? [];
  const mac = macOf(client);
  if (mac === undefined) return { kind: 'not-found' };
  // Not HEAD: fetching a script is what begins a boot.
  if (method !== 'GET') return { kind: 'method-not-allowed', allow: 'GET' };
  return {
    kind: which === 'first' ? 'first' : 'script',
    mac,
    token: new URLSearchParams(query).get('token') ?? '',
  };
}

function splitOnce(text: string, separator: string): readonly string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function macOf(text: string | undefined): MacAddress | undefined {
  if (text === undefined) return undefined;
  try {
    return parseMacAddress(text);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
