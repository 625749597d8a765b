import { type ExecFileException, execFile } from 'node:child_process';
import { networkInterfaces } from 'node:os';
import { OperationError } from '../../base/errors.ts';
import { type Ipv4, parseIpv4 } from '../../base/ipv4.ts';
import { type MacAddress, parseMacAddress } from '../../base/mac-address.ts';
import { type Libc, loadLibc } from './libc.ts';
import { IP_COMMAND_OUTPUT_BYTES_MAX, IP_COMMAND_TIMEOUT_MS } from './limits.ts';
import { type AddressVerb, canUseNetlink, changeByNetlink } from './netlink-address.ts';

/**
 * Gives an interface one more address, as a host route (/32) so that it never becomes the source of what
 * this machine sends by itself. Done already is done.
 * @throws OperationError kind "unavailable" when the system refuses, or where neither the C library can be called nor `ip` is
 */
export function addInterfaceAddress(address: Ipv4, interfaceName: string): Promise<void> {
  const words = /File exists|already assigned/;
  return changeAddress('add', address, interfaceName, { error: 'EEXIST', words });
}

/** Takes the address away again. Gone already is done. @throws as addInterfaceAddress */
export function removeInterfaceAddress(address: Ipv4, interfaceName: string): Promise<void> {
  const words = /Cannot assign requested address|Address not found/;
  return changeAddress('del', address, interfaceName, { error: 'EADDRNOTAVAIL', words });
}

/** Has what changes of addresses need at hand, so that the first takes no longer than the others. */
export function prepareAddressChanges(): void {
  directly();
}

/** Undefined where the C library cannot be called. */
function directly(): Libc | undefined {
  if (!canUseNetlink()) return undefined;
  try {
    return loadLibc();
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    return undefined;
  }
}

async function changeAddress(
  verb: AddressVerb,
  address: Ipv4,
  interfaceName: string,
  done: { readonly error: string; readonly words: RegExp },
): Promise<void> {
  const libc = directly();
  if (libc === undefined) return await changeByCommand(verb, address, interfaceName, done.words);
  const error = changeByNetlink(libc, verb, address, interfaceName);
  if (error === '' || error === done.error) return;
  throw addressError(verb, address, interfaceName, 'address-change-failed', error);
}

function changeByCommand(
  verb: AddressVerb,
  address: Ipv4,
  interfaceName: string,
  alreadyDone: RegExp,
): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(
      'ip',
      ['address', verb, `${address}/32`, 'dev', interfaceName],
      // The messages are matched, so they must come in one language.
      {
        timeout: IP_COMMAND_TIMEOUT_MS,
        maxBuffer: IP_COMMAND_OUTPUT_BYTES_MAX,
        env: { PATH: SYSTEM_PATH, LC_ALL: 'C' },
      },
      (error, _stdout, stderr) => {
        if (error === null || alreadyDone.test(stderr)) resolve();
        else reject(commandError(verb, address, interfaceName, error, stderr));
      },
    );
  });
}

/** Where `ip` lives on any distribution; sbin is often missing from a service's own path. */
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function commandError(
  verb: AddressVerb,
  address: Ipv4,
  interfaceName: string,
  error: ExecFileException,
  stderr: string,
): OperationError {
  const missing = error.code === 'ENOENT';
  const reason = missing
    ? 'the program "ip" (package iproute2) is not installed'
    : error.killed === true
      ? `"ip" did not end within ${IP_COMMAND_TIMEOUT_MS} ms`
      : stderr.trim() || error.message;
  const code = missing ? 'no-ip-command' : 'address-change-failed';
  return addressError(verb, address, interfaceName, code, reason);
}

function addressError(
  verb: AddressVerb,
  address: Ipv4,
  interfaceName: string,
  code: string,
  reason: string,
): OperationError {
  const what = verb === 'add' ? 'adding' : 'removing';
  return new OperationError(`${what} ${address} on interface ${interfaceName} failed: ${reason}`, {
    kind: 'unavailable',
    code,
    got: interfaceName,
    accepted: 'an interface of this machine, and root or the capability CAP_NET_ADMIN',
  });
}

/** The interface's own IPv4 address: the first that is not a host route, which a movable address is. */
export function interfaceIpv4(interfaceName: string): Ipv4 {
  const found = addressesOf(interfaceName).find(
    (a) => a.family === 'IPv4' && a.netmask !== '255.255.255.255',
  );
  if (found === undefined) {
    throw new OperationError(`interface ${interfaceName} has no IPv4 address of its own`, {
      kind: 'unavailable',
      code: 'no-interface-address',
      got: interfaceName,
      accepted: 'an interface with an IPv4 address, as `ip address` lists it',
    });
  }
  return parseIpv4(found.address);
}

export function interfaceMac(interfaceName: string): MacAddress {
  const [first] = addressesOf(interfaceName);
  if (first === undefined) {
    throw new OperationError(`interface ${interfaceName} is not up, or has no address`, {
      kind: 'unavailable',
      code: 'no-interface-address',
      got: interfaceName,
      accepted: 'an interface that is up, as `ip address` lists it',
    });
  }
  return parseMacAddress(first.mac);
}

function addressesOf(
  interfaceName: string,
): { address: string; netmask: string; family: string; mac: string }[] {
  return networkInterfaces()[interfaceName] ?? [];
}
