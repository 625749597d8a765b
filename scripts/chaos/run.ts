import { setTimeout as sleep } from 'node:timers/promises';
import { type RandomSource, SeededRandom } from '../../base/random.ts';
import type { Clients, Pause } from './clients.ts';
import { ChaosFabric, type FabricOptions } from './fabric.ts';
import { drawFault, type Fault } from './faults.ts';
import { monotonicMs } from './stamped-disk.ts';

const START_TIMEOUT_MS = 60_000;
const WHOLE_TIMEOUT_MS = 90_000;
const FINISH_TIMEOUT_MS = 300_000;
/** Longer than this without an answer is a machine that hangs, whatever was done to the nodes. */
const MAX_SILENCE_MS = 60_000;
/** Between the end of one fault and the next: time for what it caused to show. */
const REST_MS = { least: 1000, spread: 3000 };

export interface ChaosOptions extends FabricOptions {
  readonly runMs: number;
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly say: (line: string) => void;
}

export interface Inflicted {
  readonly kind: string;
  readonly node: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface ChaosResult {
  readonly inflicted: readonly Inflicted[];
  readonly pauses: readonly Pause[];
  readonly violations: readonly string[];
  readonly unexpectedEnds: readonly string[];
  /** The logs of the nodes that ended unasked, their last lines. */
  readonly lastWords: string;
  readonly acknowledged: number;
  readonly checked: number;
  readonly refusedForSpace: number;
  readonly reconnects: number;
}

/**
 * One run: nodes and initiators, a fault every few seconds, everything read back at the end.
 * @throws Error when the fabric does not come back from a fault, with the nodes' last words
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const fabric = new ChaosFabric(options);
  const remove = (): void => {
    void fabric.remove().finally(() => process.exit(130));
  };
  process.once('SIGINT', remove);
  process.once('SIGTERM', remove);
  let clients: Clients | undefined;
  try {
    await fabric.start();
    clients = fabric.clients();
    await clients.start(options.seed, fabric.disks, START_TIMEOUT_MS);
    options.say(`${options.nodes} nodes, ${options.clients} initiators at work`);
    const inflicted = await inflictAll(fabric, clients, options);
    await fabric.whole(WHOLE_TIMEOUT_MS);
    options.say('everything is read back');
    await clients.finish(FINISH_TIMEOUT_MS);
    const { acknowledged, checked, refusedForSpace, reconnects } = clients.progress;
    return {
      ...{ inflicted, pauses: clients.pauses, violations: clients.violations },
      ...{ unexpectedEnds: fabric.unexpectedEnds, lastWords: fabric.lastWords.join('\n') },
      ...{ acknowledged, checked, refusedForSpace, reconnects },
    };
  } catch (error) {
    throw new Error(`${String(error)}\n${fabric.cluster.allLogTails()}`, { cause: error });
  } finally {
    process.off('SIGINT', remove);
    process.off('SIGTERM', remove);
    await clients?.end();
    await fabric.remove();
  }
}

async function inflictAll(
  fabric: ChaosFabric,
  clients: Clients,
  options: ChaosOptions,
): Promise<Inflicted[]> {
  const random = new SeededRandom(options.seed);
  const inflicted: Inflicted[] = [];
  const endMs = monotonicMs() + options.runMs;
  while (monotonicMs() < endMs) {
    const fault = drawFault(options.faults, random);
    const node = await victim(fabric, random);
    if (fault.destroys === true) await fabric.whole(WHOLE_TIMEOUT_MS);
    const fromMs = monotonicMs();
    await fault.inflict(fabric, node, random);
    const toMs = monotonicMs();
    inflicted.push({ kind: fault.kind, node, fromMs, toMs });
    // What a node lost must be elsewhere before another may lose it as well.
    if (fault.destroys === true) await fabric.whole(WHOLE_TIMEOUT_MS);
    await sleep(REST_MS.least + random.below(REST_MS.spread));
    options.say(
      `${inflicted.length}. ${fault.kind} of ${node}: ${clients.progress.acknowledged} writes acknowledged, ${clients.violations.length} lost`,
    );
    await untilAnswered(fabric, clients);
  }
  return inflicted;
}

/** Every other time a node that serves, else any. */
async function victim(fabric: ChaosFabric, random: RandomSource): Promise<string> {
  const any = fabric.nodeIds[random.below(fabric.nodeIds.length)] ?? '';
  if (random.below(2) === 0) return any;
  const { portalGroups } = await fabric.cluster.waitForStatus('an answer', () => true, WHOLE_TIMEOUT_MS);
  return portalGroups[random.below(Math.max(1, portalGroups.length))]?.primary ?? any;
}

async function untilAnswered(fabric: ChaosFabric, clients: Clients): Promise<void> {
  while (clients.silentMs > 2 * REST_MS.least) {
    if (clients.failure !== undefined) throw clients.failure;
    if (clients.silentMs > MAX_SILENCE_MS) {
      throw new Error(`an initiator has had no answer for ${Math.round(clients.silentMs)} ms`);
    }
    await sleep(REST_MS.least / 4);
  }
  if (clients.failure !== undefined) throw clients.failure;
  for (const node of fabric.nodeIds) {
    if (fabric.cluster.processId(node) === undefined) throw new Error(`node ${node} does not run`);
  }
}
