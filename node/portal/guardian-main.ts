import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { describeError } from '../../base/errors.ts';
import { type GuardianEffect, initialGuardianState, stepGuardian } from './guardian-machine.ts';
import {
  decodeGuardianLine,
  encodeGuardianLine,
  type GuardianAnswer,
  type GuardianOrder,
} from './guardian-protocol.ts';

/**
 * The guardian process: a shell around guardian-machine.ts, started by its node with pipes for input and
 * output. It is a process of its own because the node's event loop may hang, be stopped or be killed, and its
 * portal addresses must go all the same.
 */
const TICK_MS = 25;
const IP_TIMEOUT_MS = 1_000;

let state = initialGuardianState;
let interfaceName: string | null = null;
const nodePid = process.ppid;

function handle(event: Parameters<typeof stepGuardian>[1]): void {
  const step = stepGuardian(state, event, performance.now());
  state = step.state;
  for (const effect of step.effects) carryOut(effect);
}

function carryOut(effect: GuardianEffect): void {
  switch (effect.type) {
    case 'configure':
      interfaceName = effect.interface;
      return;
    case 'addAddress':
      changeAddress('add', effect.address, effect.afterwards);
      return;
    case 'removeAddress':
      changeAddress('del', effect.address, effect.afterwards);
      return;
    case 'answer':
      answer(effect.answer);
      return;
    case 'nodeSilent':
      // With an interface the addresses are gone already; on loopback the sockets must go with their owner.
      if (interfaceName === null && process.ppid === nodePid) process.kill(nodePid, 'SIGKILL');
      return;
    case 'exit':
      process.exit(0);
  }
}

function changeAddress(verb: 'add' | 'del', address: string, afterwards: GuardianAnswer | undefined): void {
  if (interfaceName !== null) {
    const result = spawnSync('ip', ['address', verb, `${address}/32`, 'dev', interfaceName], {
      timeout: IP_TIMEOUT_MS,
      encoding: 'utf8',
    });
    // Adding what is there and removing what is not are both fine: the wanted end is reached.
    const harmless = /File exists|already assigned|Cannot assign requested address/.test(result.stderr ?? '');
    if (result.error !== undefined || (result.status !== 0 && !harmless)) {
      const reason = result.error?.message ?? result.stderr.trim();
      answer({ answer: 'failed', address, reason: `ip address ${verb} on ${interfaceName}: ${reason}` });
      return;
    }
  }
  if (afterwards !== undefined) answer(afterwards);
}

function answer(message: GuardianAnswer): void {
  process.stdout.write(encodeGuardianLine(message));
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  try {
    handle({ type: 'order', order: decodeGuardianLine(line) as GuardianOrder });
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
