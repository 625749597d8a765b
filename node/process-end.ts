import { createRequire } from 'node:module';
import { EXIT_WITHIN_MS } from './limits.ts';

/** From <time.h> and <signal.h> of Linux. */
const CLOCK_MONOTONIC = 1;
const SIGEV_THREAD = 2;
/** struct sigevent on 64-bit machines: value, signal, what is to happen, and the function for that. */
const SIGEVENT = { lengthBytes: 64, value: 0, notify: 12, callee: 16 } as const;
/** struct itimerspec: the interval, then the first time, each in seconds and nanoseconds. */
const ITIMERSPEC = { lengthBytes: 32, seconds: 16, nanoseconds: 24 } as const;
const TIMER_ID_BYTES = 8;
/** Where timers are before glibc 2.34; undefined: what the program is linked with. */
const LIBRARIES = [undefined, 'librt.so.1'] as const;

type Koffi = typeof import('koffi').default;
/** @returns whether the process will have ended by then */
type Arm = (withinMs: number, code: number) => boolean;

let loaded: Arm | undefined;

/**
 * Has the process end with that code once the time has passed, unless it has ended before: whatever its threads are at, also
 * where the main one never runs again. That is done by a thread of the C library (timer_create with SIGEV_THREAD), which
 * calls _exit(2).
 *
 * What the kernel itself does not let go of, a call in uninterruptible sleep, keeps its thread, and with it the files and
 * sockets, as it would after SIGKILL; nothing else of the process runs any more.
 * @returns false: this system has no such timers, or there is no binding for it
 */
export function endProcessWithin(withinMs: number, code: number): boolean {
  loaded ??= bind() ?? ((): boolean => false);
  return loaded(withinMs, code);
}

/**
 * process.exit, which waits for every thread, and so for as long as a call hangs that one of them has made to a disk: this
 * waits EXIT_WITHIN_MS at most.
 */
export function endProcess(code: number): never {
  endProcessWithin(EXIT_WITHIN_MS, code);
  process.exit(code);
}

/** The same for a process that is known to be stuck: where there are no timers it is killed, and its code is lost. */
export function endStuckProcess(code: number): never {
  if (!endProcessWithin(EXIT_WITHIN_MS, code)) process.kill(process.pid, 'SIGKILL');
  process.exit(code);
}

function bind(): Arm | undefined {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined;
  let koffi: Koffi;
  try {
    const required = createRequire(import.meta.url)('koffi') as Koffi & { default?: Koffi };
    koffi = required.default ?? required;
  } catch {
    return undefined;
  }
  for (const library of LIBRARIES) {
    const arm = bindTimers(koffi, library);
    if (arm !== undefined) return arm;
  }
  return undefined;
}

function bindTimers(koffi: Koffi, library: string | undefined): Arm | undefined {
  try {
    const libc = koffi.load(null);
    const timers = library === undefined ? libc : koffi.load(library);
    const create = timers.func('int timer_create(int clock, const uint8_t *event, _Out_ uint8_t *id)');
    const set = timers.func(
      'int timer_settime(uintptr_t id, int flags, const uint8_t *when, uint8_t *before)',
    );
    const find = libc.func('uintptr_t dlsym(void *handle, const char *name)');
    const exit = BigInt(find(null, '_exit') as number | bigint);
    if (exit === 0n) return undefined;
    return (withinMs, code) => {
      const id = Buffer.alloc(TIMER_ID_BYTES);
      if (create(CLOCK_MONOTONIC, sigevent(exit, code), id) !== 0) return false;
      return set(id.readBigUInt64LE(), 0, itimerspec(withinMs), null) === 0;
    };
  } catch {
    return undefined;
  }
}

/** The function is called with the value as its one argument, which for _exit is the code. */
function sigevent(callee: bigint, value: number): Uint8Array {
  const event = Buffer.alloc(SIGEVENT.lengthBytes);
  event.writeInt32LE(value, SIGEVENT.value);
  event.writeInt32LE(SIGEV_THREAD, SIGEVENT.notify);
  event.writeBigUInt64LE(callee, SIGEVENT.callee);
  return event;
}

function itimerspec(ms: number): Uint8Array {
  const when = Buffer.alloc(ITIMERSPEC.lengthBytes);
  when.writeBigInt64LE(BigInt(Math.floor(ms / 1000)), ITIMERSPEC.seconds);
  when.writeBigInt64LE(BigInt(Math.round((ms % 1000) * 1e6)), ITIMERSPEC.nanoseconds);
  return when;
}
