import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import { parseIpv4 } from '../../base/ipv4.ts';
import {
  addInterfaceAddress,
  prepareAddressChanges,
  removeInterfaceAddress,
} from '../net/interface-address.ts';
import { loadLibc } from '../net/libc.ts';
import { receiveSocket } from '../net/socket-passing.ts';
import { closeSilently } from '../net/tcp-ending.ts';
import { sendSegments } from '../net/tcp-segment.ts';
import { type GuardianEffect, initialGuardianState, stepGuardian } from './guardian-machine.ts';
import {
  decodeGuardianLine,
  encodeGuardianLine,
  type GuardianAnswer,
  type GuardianOrder,
  SOCKETS_FD,
} from './guardian-protocol.ts';
import { KeptSockets } from './kept-sockets.ts';
import { REMOVE_RETRY_MS, TAKEOVER_WAIT_MS } from './limits.ts';
import { NodeEnd } from './node-end.ts';

/**
 * The guardian process: a shell around guardian-machine.ts, started by its node with pipes for input and
 * output. It is a process of its own because the node's event loop may hang, be stopped or be killed, and its
 * portal addresses must go all the same.
 */
const TICK_MS = 25;

let state = initialGuardianState;
let interfaceName: string | null = null;
let changes: Promise<void> = Promise.resolve();
const nodePid = process.ppid;
const nodeEnd = new NodeEnd(() => process.ppid);
const sockets = new KeptSockets({
  receive: () => receiveSocket(SOCKETS_FD),
  close: (fd) => void loadLibc().close(fd),
  closeSilently,
});
/** What has to be done, beside the last word, before this process ends. */
let leaving: Promise<void> = Promise.resolve();
/** Addresses that could not be taken off so far. */
const leftOn = new Set<string>();

function handle(event: Parameters<typeof stepGuardian>[1]): void {
  const step = stepGuardian(state, event, performance.now());
  state = step.state;
  for (const effect of step.effects) carryOut(effect);
}

function carryOut(effect: GuardianEffect): void {
  switch (effect.type) {
    case 'configure':
      interfaceName = effect.interface;
      if (interfaceName !== null) prepareAddressChanges();
      return;
    case 'addAddress':
      changeAddress('add', effect.address, effect.afterwards);
      return;
    case 'removeAddress':
      changeAddress('del', effect.address, effect.afterwards);
      return;
    case 'answer':
      changes = changes.then(() => answer(effect.answer));
      return;
    case 'nodeSilent':
      // With an interface the addresses are gone already; on loopback the sockets must go with their owner.
      if (interfaceName === null && process.ppid === nodePid) process.kill(nodePid, 'SIGKILL');
      return;
    case 'testify':
      // An address that is still here might answer for the node.
      changes = changes.then(() => (leftOn.size > 0 ? undefined : nodeEnd.testify(effect.order)));
      return;
    case 'keepSocket':
      sockets.keep(effect.order);
      return;
    case 'closeSocket':
      sockets.close(effect.socket);
      return;
    case 'forsake':
      changes = changes.then(() => {
        leaving = forsake();
      });
      return;
    case 'exit':
      changes = changes.then(() => leaving).then(() => process.exit(0));
      return;
  }
}

async function forsake(): Promise<void> {
  const waited = sleep(TAKEOVER_WAIT_MS, undefined, { ref: false });
  try {
    const resets = await sockets.forsake();
    if (resets.length === 0) return;
    await waited;
    sendSegments(resets);
  } catch (error) {
    // Initiators find out by themselves, later.
    process.stderr.write(`guardian: ending connections: ${describeError(error)}\n`);
  }
}

/** One after the other, so that an address taken off and put on again ends up on. */
function changeAddress(verb: 'add' | 'del', address: string, afterwards: GuardianAnswer | undefined): void {
  const onInterface = interfaceName;
  const change = verb === 'add' ? addInterfaceAddress : removeInterfaceAddress;
  changes = changes
    .then(() => (onInterface === null ? undefined : change(parseIpv4(address), onInterface)))
    .then(() => {
      leftOn.delete(address);
      if (afterwards !== undefined) answer(afterwards);
    })
    .catch((error: unknown) => {
      leftOn.add(address);
      if (afterwards !== undefined) answer({ answer: 'failed', address, reason: describeError(error) });
      if (verb === 'del') setTimeout(() => removeAgain(address), REMOVE_RETRY_MS);
    });
}

/** An address that nobody holds must not stay on the interface, however often it takes. */
function removeAgain(address: string): void {
  if (!state.held.has(address)) changeAddress('del', address, undefined);
}

function answer(message: GuardianAnswer): void {
  process.stdout.write(encodeGuardianLine(message));
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  try {
    const order = decodeGuardianLine(line) as GuardianOrder;
    if (order.order === 'testify') nodeEnd.prepare(order);
    handle({ type: 'order', order });
  } catch (error) {
    process.stderr.write(`guardian: ${describeError(error)}\n`);
  }
});
lines.on('close', () => handle({ type: 'nodeGone' }));
// The node may be gone while an answer is on its way; the end of the input says so.
process.stdout.on('error', () => {});
// A terminal's interrupt reaches the whole process group; the node decides when the addresses go.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
setInterval(() => handle({ type: 'tick' }), TICK_MS);
