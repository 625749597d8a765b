import { open, stat } from 'node:fs/promises';
import { describeError, OperationError } from '../../base/errors.ts';
import { formatBytes } from './table.ts';

/**
 * Size in bytes of a file to be uploaded.
 * @param unitBytes its size has to be a multiple of this
 * @throws OperationError kind "invalid" when it is missing, not a regular file, empty, too large or of no whole size
 */
export async function fileSize(file: string, limitBytes: number, unitBytes = 1): Promise<number> {
  const refuse = (message: string, got: unknown): OperationError =>
    new OperationError(message, {
      kind: 'invalid',
      code: 'bad-file',
      got,
      accepted: `a readable file of at most ${formatBytes(limitBytes)}${unitBytes === 1 ? '' : `, a multiple of ${unitBytes} bytes`}`,
    });
  const unreadable = (error: unknown): OperationError =>
    refuse(`${file} cannot be read: ${describeError(error)}`, file);
  const found = await stat(file).catch((error: unknown) => {
    throw unreadable(error);
  });
  // Before it is opened: to open a named pipe waits for whoever writes to it.
  if (!found.isFile()) throw refuse(`${file} is not a regular file`, file);
  // Now, rather than in the midst of the upload.
  try {
    await (await open(file, 'r')).close();
  } catch (error) {
    throw unreadable(error);
  }
  if (found.size === 0) throw refuse(`${file} is empty`, 0);
  if (found.size > limitBytes) throw refuse(`${file} is too large`, found.size);
  if (found.size % unitBytes !== 0) {
    throw refuse(`${file} has ${found.size} bytes, which is no multiple of ${unitBytes}`, found.size);
  }
  return found.size;
}
