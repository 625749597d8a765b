import { ProtocolError } from './errors.ts';

/** An Ethernet address as lower-case hexadecimal pairs joined by colons. */
export type MacAddress = string & { readonly brand: 'MacAddress' };

/**
 * Accepts pairs joined by ":" or "-", three groups of four joined by ".", or twelve digits, in either case.
 * @throws ProtocolError code "bad-mac" for anything else
 */
export function parseMacAddress(text: string): MacAddress {
  const accepted =
    /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text) ||
    /^([0-9a-f]{2}-){5}[0-9a-f]{2}$/i.test(text) ||
    /^([0-9a-f]{4}\.){2}[0-9a-f]{4}$/i.test(text) ||
    /^[0-9a-f]{12}$/i.test(text);
  if (!accepted) {
    throw new ProtocolError(`"${text}" is not a MAC address`, {
      code: 'bad-mac',
      got: text,
      limit: 'six hexadecimal pairs such as 52:54:00:12:34:56',
    });
  }
  return macFromBytes(Buffer.from(text.replaceAll(/[:.-]/g, ''), 'hex'));
}

/** @throws ProtocolError code "bad-mac" unless exactly six bytes are given */
export function macFromBytes(bytes: Uint8Array): MacAddress {
  if (bytes.length !== 6) {
    throw new ProtocolError(`a MAC address has 6 bytes, got ${bytes.length}`, {
      code: 'bad-mac',
      got: bytes.length,
      limit: 6,
    });
  }
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':') as MacAddress;
}

export function macToBytes(mac: MacAddress): Uint8Array {
  return Uint8Array.from(mac.split(':'), (pair) => Number.parseInt(pair, 16));
}
