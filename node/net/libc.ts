import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';
import { describeError, OperationError } from '../../base/errors.ts';

/** Linux, from <asm-generic/socket.h>: options of sockets of every kind, and what comes beside a message. */
export const SOL_SOCKET = 1;

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
  connect(fd: number, address: Uint8Array, length: number): number;
  /** `length`: four bytes, in host order, for the length given and the length written. */
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array): number;
  /** ioctl(2) with a request that writes to `value`. */
  ioctl(fd: number, request: number, value: Uint8Array): number;
  /** `message` is a struct msghdr, whose pointers come from addressOf. */
  sendmsg(fd: number, message: Uint8Array, flags: number): number;
  recvmsg(fd: number, message: Uint8Array, flags: number): number;
  /** Where the bytes are in memory; they are to be on an ArrayBuffer that outlives the call that is told. */
  addressOf(bytes: Uint8Array): bigint;
  /** Fills `bytes` from its beginning. */
  recv(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  close(fd: number): number;
  /** fcntl(2), for what takes a number. */
  fcntl(fd: number, command: number, argument: number): number;
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
      connect: self.func('int connect(int fd, const uint8_t *address, uint32_t length)'),
      getsockopt: self.func(
        'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint8_t *length)',
      ),
      ioctl: self.func('int ioctl(int fd, unsigned long request, _Out_ uint8_t *value)'),
      sendmsg: self.func('intptr_t sendmsg(int fd, const uint8_t *message, int flags)'),
      recvmsg: self.func('intptr_t recvmsg(int fd, _Inout_ uint8_t *message, int flags)'),
      recv: self.func('intptr_t recv(int fd, _Out_ uint8_t *bytes, size_t length, int flags)'),
      close: self.func('int close(int fd)'),
      fcntl: self.func('int fcntl(int fd, int command, int argument)'),
      flock: self.func('int flock(int fd, int operation)'),
      interfaceIndex: self.func('unsigned int if_nametoindex(const char *name)'),
    };
    return { ...calls, addressOf: (bytes) => koffi.address(bytes), errno: () => koffi.errno() };
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
