import { OperationError, ProtocolError } from '../../base/errors.ts';
import { type Ipv4, ipv4ToNumber, parseIpv4 } from '../../base/ipv4.ts';
import { MAX_DATA_PLANE_WORKERS } from '../../cluster/state/limits.ts';
import { NAME_ACCEPTED, NAME_PATTERN, type NodeConfig, WORKERS_ACCEPTED } from '../config.ts';

/** Single values of init's options. Each check throws OperationError kind "invalid" naming its option. */

export function refuse(message: string, code: string, got: unknown, accepted: string): OperationError {
  return new OperationError(message, { kind: 'invalid', code, got, accepted });
}

export const isLoopback = (address: Ipv4): boolean => address.startsWith('127.');

/** One host's own address: nothing in network 0, no multicast, reserved or broadcast address. */
export function parseHostAddress(option: string, text: string): Ipv4 {
  const accepted = 'the IPv4 address of one host, such as 192.0.2.11';
  let address: Ipv4;
  try {
    address = parseIpv4(text);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw refuse(`${option}: ${error.message}`, 'bad-address', text, accepted);
  }
  const n = ipv4ToNumber(address);
  if (n < 0x0100_0000 || n >= 0xe000_0000) {
    throw refuse(`${option}: ${text} is not an address of one host`, 'bad-address', text, accepted);
  }
  return address;
}

export function checkName(option: string, name: string): string {
  if (NAME_PATTERN.test(name)) return name;
  throw refuse(`${option}: "${name}" is not a usable name`, 'bad-name', name, NAME_ACCEPTED);
}

/** @param whole what was typed, of which `digits` are the port */
export function parsePort(option: string, digits: string, whole: string): number {
  const value = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  if (value >= 1 && value <= 65_535) return value;
  throw refuse(`${option}: "${whole}" has no usable port`, 'bad-port', whole, 'a port number, 1 to 65535');
}

export function checkInterface(option: string, name: string): string {
  if (/^[^\s/]{1,15}$/.test(name) && name !== '.' && name !== '..') return name;
  throw refuse(
    `${option}: "${name}" is not the name of a network interface`,
    'bad-interface',
    name,
    '1 to 15 characters without spaces or "/", such as eth0',
  );
}

const MAX_WEIGHT = 1000;

export function parseWeight(text: string): number {
  const value = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= MAX_WEIGHT) return value;
  throw refuse(
    `--weight: "${text}" is not a weight`,
    'bad-weight',
    text,
    `a whole number, 1 to ${MAX_WEIGHT}`,
  );
}

/**
 * The data plane of a node as its settings are to have it.
 * @param text undefined: nothing is said, and it has one worker
 */
export function planDataPlane(text: string | undefined): Pick<NodeConfig, 'dataPlane'> {
  if (text === undefined) return {};
  if (text === 'auto') return { dataPlane: { workers: text } };
  const workers = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (workers >= 1 && workers <= MAX_DATA_PLANE_WORKERS) return { dataPlane: { workers } };
  throw refuse(
    `--workers: "${text}" is no number of data-plane workers`,
    'bad-workers',
    text,
    WORKERS_ACCEPTED,
  );
}
