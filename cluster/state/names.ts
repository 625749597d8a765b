import { ProtocolError } from '../../base/errors.ts';
import { ipv4ToNumber, parseIpv4 } from '../../base/ipv4.ts';
import { parseMacAddress } from '../../base/mac-address.ts';
import type { CommandRefusal } from './commands.ts';

/** Spelling rules of the names and numbers an administrator gives. Each check returns a refusal or undefined. */

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;

const ACCEPTED_NAME = 'up to 63 lower-case letters, digits and hyphens, the first of them a letter or digit';
const ACCEPTED_FILE_NAME =
  'up to 63 letters, digits, dots, hyphens and underscores, the first of them a letter or digit';

/** Records are looked up by name in plain objects, so a name every object already has is taken. */
function isReserved(name: string): boolean {
  return name in {};
}

export function checkName(what: string, name: string): CommandRefusal | undefined {
  if (NAME.test(name) && !isReserved(name)) return undefined;
  return {
    kind: 'invalid',
    code: 'bad-name',
    message: `"${name}" cannot be the name of ${what}`,
    got: name,
    accepted: ACCEPTED_NAME,
  };
}

export function checkFileName(name: string): CommandRefusal | undefined {
  if (FILE_NAME.test(name) && !isReserved(name)) return undefined;
  return {
    kind: 'invalid',
    code: 'bad-name',
    message: `"${name}" cannot be the name of a boot file`,
    got: name,
    accepted: ACCEPTED_FILE_NAME,
  };
}

export function checkSha256(what: string, hex: string): CommandRefusal | undefined {
  if (SHA256_HEX.test(hex)) return undefined;
  return {
    kind: 'invalid',
    code: 'bad-sha256',
    message: `the SHA-256 of ${what} is malformed`,
    got: hex,
    accepted: '64 lower-case hexadecimal digits',
  };
}

export function checkMac(mac: string): CommandRefusal | undefined {
  if (isCanonicalMac(mac)) return undefined;
  return {
    kind: 'invalid',
    code: 'bad-mac',
    message: `"${mac}" is not a usable MAC address in its canonical spelling`,
    got: mac,
    accepted:
      'six lower-case hexadecimal pairs joined by colons such as 52:54:00:12:34:56, of one machine only',
  };
}

/** Group addresses (lowest bit of the first byte set) and all zeros belong to no single network card. */
function isCanonicalMac(mac: string): boolean {
  try {
    if (parseMacAddress(mac) !== mac) return false;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}

/** The address as a number, or undefined when it is not one. */
export function ipv4Number(text: string): number | undefined {
  try {
    return ipv4ToNumber(parseIpv4(text));
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** The record of that very name; never one inherited from Object.prototype. */
export function lookup<T>(records: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(records, key) ? records[key] : undefined;
}

/** Text in one order on every node, whatever its locale. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** What is on offer, in words: the names of these records, in one order everywhere. */
export function namesOf(records: Readonly<Record<string, unknown>>): string {
  return Object.keys(records).sort(compareText).join(', ');
}
