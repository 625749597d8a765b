const CR = 0x0d;
const LF = 0x0a;

/**
 * Text of this system as netascii (RFC 764, by RFC 1350 §1): a line ends with CR LF, a bare CR becomes CR NUL.
 */
export function toNetascii(bytes: Uint8Array): Uint8Array {
  let extra = 0;
  for (const byte of bytes) if (byte === CR || byte === LF) extra++;
  if (extra === 0) return bytes;
  const out = new Uint8Array(bytes.length + extra);
  let at = 0;
  for (const byte of bytes) {
    if (byte === LF) out[at++] = CR;
    out[at++] = byte;
    if (byte === CR) out[at++] = 0;
  }
  return out;
}

/** The inverse. A CR followed by anything else is left as it is. */
export function fromNetascii(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    const next = bytes[i + 1];
    if (byte === CR && (next === LF || next === 0)) {
      out[length++] = next === LF ? LF : CR;
      i++;
    } else {
      out[length++] = byte;
    }
  }
  return out.subarray(0, length);
}
