export type ByteRange =
  | { readonly kind: 'whole' }
  /** `end` is the byte after the last. */
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' };

/**
 * What a Range header asks of a file (RFC 9110 §14.2). Several ranges, and headers that are malformed or in
 * other units, are ignored, as that section allows, which gives the whole file.
 */
export function byteRange(header: string | undefined, sizeBytes: number): ByteRange {
  const match = header === undefined ? null : /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  const [, firstText = '', lastText = ''] = match ?? [];
  if (match === null || (firstText === '' && lastText === '')) return { kind: 'whole' };
  if (firstText === '') {
    const length = Math.min(Number(lastText), sizeBytes);
    if (length === 0) return { kind: 'unsatisfiable' };
    return { kind: 'part', start: sizeBytes - length, end: sizeBytes };
  }
  const start = Number(firstText);
  const end = lastText === '' ? sizeBytes : Math.min(Number(lastText) + 1, sizeBytes);
  if (lastText !== '' && Number(lastText) < start) return { kind: 'whole' };
  return start < sizeBytes ? { kind: 'part', start, end } : { kind: 'unsatisfiable' };
}
