import { stat } from 'node:fs/promises';
import { describeError, OperationError } from '../../base/errors.ts';

/**
 * Size in bytes of a file to be uploaded.
 * @throws OperationError kind "invalid" when it is missing, not a regular file, empty or too large
 */
export async function fileSize(file: string, limitBytes: number): Promise<number> {
  const refuse = (message: string, got: unknown): OperationError =>
    new OperationError(message, {
      kind: 'invalid',
      code: 'bad-file',
      got,
      accepted: `a readable file of 1 to ${limitBytes} bytes`,
    });
  let found: { readonly size: number; isFile(): boolean };
  try {
    found = await stat(file);
  } catch (error) {
    throw refuse(`${file} cannot be read: ${describeError(error)}`, file);
  }
  if (!found.isFile()) throw refuse(`${file} is not a regular file`, file);
  if (found.size === 0) throw refuse(`${file} is empty`, 0);
  if (found.size > limitBytes) throw refuse(`${file} is too large`, found.size);
  return found.size;
}
