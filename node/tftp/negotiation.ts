import {
  BLKSIZE_DEFAULT,
  BLKSIZE_GRANTED_MAX,
  BLKSIZE_MAX,
  BLKSIZE_MIN,
  WINDOWSIZE_GRANTED_MAX,
} from './limits.ts';
import type { TftpOptions } from './packet.ts';

/** What one transfer runs with. */
export interface TransferTerms {
  readonly sizeBytes: number;
  readonly blksize: number;
  readonly windowsize: number;
  /** The client's own retransmission interval, if it asked for one. */
  readonly timeoutMs: number | undefined;
  /** What to acknowledge to the client; empty when it asked for nothing that is known here. */
  readonly acknowledged: TftpOptions;
}

/**
 * Grants the options of a read request (RFC 2347 to 2349, RFC 7440). One that is unknown, or whose value is
 * out of its range, is left out of the answer, which refuses it.
 * @param sizeBytes of the file as it will be sent
 */
export function negotiate(requested: TftpOptions, sizeBytes: number): TransferTerms {
  const acknowledged = new Map<string, string>();
  let blksize = BLKSIZE_DEFAULT;
  let windowsize = 1;
  let timeoutMs: number | undefined;
  for (const [name, text] of requested) {
    const value = decimal(text);
    if (value === undefined) continue;
    if (name === 'blksize' && value >= BLKSIZE_MIN && value <= BLKSIZE_MAX) {
      blksize = Math.min(value, BLKSIZE_GRANTED_MAX);
      acknowledged.set(name, String(blksize));
    } else if (name === 'tsize') {
      acknowledged.set(name, String(sizeBytes));
    } else if (name === 'timeout' && value >= 1 && value <= 255) {
      timeoutMs = value * 1_000;
      acknowledged.set(name, String(value));
    } else if (name === 'windowsize' && value >= 1 && value <= 65_535) {
      windowsize = Math.min(value, WINDOWSIZE_GRANTED_MAX);
      acknowledged.set(name, String(windowsize));
    }
  }
  return { sizeBytes, blksize, windowsize, timeoutMs, acknowledged };
}

function decimal(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
