import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';
import { describeError, OperationError } from '../../base/errors.ts';

/**
 * The few system calls that Node does not offer, made through the C library. The binding is loaded at the
 * first use, so that a node that needs none of this runs where there is no binary for its platform.
 */
export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  sendto(
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    addressLength: number,
  ): number;
  /** Fills `bytes` from its beginning. */
  recv(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  close(fd: number): number;
  /** flock(2). */
  flock(fd: number, operation: number): number;
  /** 0 when there is no such interface. */
  interfaceIndex(name: string): number;
  /** Of the last call, to be asked at once. */
  errno(): number;
}

type Koffi = typeof import('koffi').default;

let loaded: Libc | undefined;

/** @throws OperationError kind "unavailable", code "no-ffi", when the binding cannot be loaded here */
export function loadLibc(): Libc {
  loaded ??= bindLibc();
  return loaded;
}

function bindLibc(): Libc {
  if (process.platform !== 'linux') {
    throw new OperationError(
      `network interfaces can only be used directly on Linux, not ${process.platform}`,
      {
        kind: 'unavailable',
        code: 'no-ffi',
        got: process.platform,
        accepted: 'an address and port instead of an interface',
      },
    );
  }
  try {
    const required = createRequire(import.meta.url)('koffi') as Koffi & { default?: Koffi };
    const koffi = required.default ?? required;
    const self = koffi.load(null);
    const calls = {
      socket: self.func('int socket(int domain, int type, int protocol)'),
      setsockopt: self.func(
        'int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t length)',
      ),
      bind: self.func('int bind(int fd, const uint8_t *address, uint32_t length)'),
      sendto: self.func(
        'intptr_t sendto(int fd, const uint8_t *bytes, size_t length, int flags, const uint8_t *to, uint32_t toLength)',
      ),
      recv: self.func('intptr_t recv(int fd, _Out_ uint8_t *bytes, size_t length, int flags)'),
      close: self.func('int close(int fd)'),
      flock: self.func('int flock(int fd, int operation)'),
      interfaceIndex: self.func('unsigned int if_nametoindex(const char *name)'),
    };
    return { ...calls, errno: () => koffi.errno() };
  } catch (error) {
    throw new OperationError(`the native binding (koffi) does not load: ${describeError(error)}`, {
      kind: 'unavailable',
      code: 'no-ffi',
      accepted: 'a platform that koffi has a binary for, or an address and port instead of an interface',
    });
  }
}

/** The failed call as an error that says what to do about it. */
export function systemCallError(libc: Libc, call: string, subject: string): OperationError {
  const errno = libc.errno();
  const name = getSystemErrorName(-errno);
  const hint: Readonly<Record<string, string>> = {
    EPERM: 'root, or the capabilities CAP_NET_RAW and CAP_NET_BIND_SERVICE',
    EACCES: 'root, or the capabilities CAP_NET_RAW and CAP_NET_BIND_SERVICE',
    ENODEV: 'the name of an interface of this machine, as `ip link` lists it',
    EADDRINUSE: 'a port that no other server of this machine holds on that interface',
  };
  const accepted = hint[name];
  return new OperationError(`${call} for ${subject} failed: ${name}`, {
    kind: 'unavailable',
    code: name.toLowerCase(),
    got: subject,
    ...(accepted === undefined ? {} : { accepted }),
  });
}
