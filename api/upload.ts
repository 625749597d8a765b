import type { IncomingMessage } from 'node:http';
import { ApiError } from './api-error.ts';

/**
 * The bytes of an upload, no faster than they are taken. Throws unless they are exactly as many as
 * announced, so that whoever takes them never mistakes an aborted upload for a whole one.
 */
export async function* uploadedBytes(
  request: IncomingMessage,
  sizeBytes: number,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  try {
    for await (const part of partsOf(request)) {
      received += part.length;
      if (received > sizeBytes) throw wrongLength(`more than ${sizeBytes}`, sizeBytes);
      yield part;
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw wrongLength(`${received} (the connection broke)`, sizeBytes);
  }
  if (received !== sizeBytes) throw wrongLength(received, sizeBytes);
}

/** A taker that stops early must still be able to answer, so that leaves the connection open. */
function partsOf(request: IncomingMessage): AsyncIterable<Uint8Array> {
  return request.iterator({ destroyOnReturn: false });
}

/** All bytes of a small upload. @throws ApiError "body-too-large" */
export async function collectUpload(request: IncomingMessage, limitBytes: number): Promise<Uint8Array> {
  refuseAnnounced(request, (announced) => {
    if (announced > limitBytes) throw tooLarge(announced, limitBytes);
  });
  const parts: Uint8Array[] = [];
  let received = 0;
  for await (const part of partsOf(request)) {
    received += part.length;
    if (received > limitBytes) throw tooLarge(`more than ${limitBytes}`, limitBytes);
    parts.push(part);
  }
  return Buffer.concat(parts, received);
}

/** Before the first byte is read: a Content-Length that contradicts what the query announces. */
export function checkAnnouncedLength(request: IncomingMessage, sizeBytes: number): void {
  refuseAnnounced(request, (announced) => {
    if (announced !== sizeBytes) throw wrongLength(announced, sizeBytes);
  });
}

function refuseAnnounced(request: IncomingMessage, check: (announced: number) => void): void {
  const announced = request.headers['content-length'];
  if (announced !== undefined) check(Number(announced));
}

function wrongLength(got: unknown, sizeBytes: number): ApiError {
  return new ApiError('wrong-length', `the upload has another length than sizeBytes says`, {
    got,
    accepted: `exactly ${sizeBytes} bytes`,
  });
}

function tooLarge(got: unknown, limitBytes: number): ApiError {
  return new ApiError('body-too-large', 'the file is too large', {
    got,
    accepted: `at most ${limitBytes} bytes`,
  });
}
