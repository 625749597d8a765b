import { FILE_NAME_CHARACTERS_MAX } from './limits.ts';

/**
 * The plain name that a request asks for, or undefined when it asks for anything but a file at the top: a
 * path never reaches the file source. Firmware likes to put a slash in front, which is let pass.
 */
export function plainFileName(requested: string): string | undefined {
  const name = requested.startsWith('/') ? requested.slice(1) : requested;
  const plain = name.length <= FILE_NAME_CHARACTERS_MAX && /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name);
  return plain ? name : undefined;
}
