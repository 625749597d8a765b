import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeStatusDocument } from '../../api/contract/status.ts';
import { type RandomSource, SeededRandom } from '../../base/random.ts';
import type { Progress, Starved } from './client-protocol.ts';
import type { Clients, Pause } from './clients.ts';
import { ChaosFabric, type FabricOptions, isWhole } from './fabric.ts';
import { drawFault, type Fault } from './faults.ts';
import { monotonicMs } from './stamped-disk.ts';

const START_TIMEOUT_MS = 240_000;
const WHOLE_TIMEOUT_MS = 240_000;
const FINISH_TIMEOUT_MS = 600_000;
/** Longer than this without an answer is a machine that hangs, whatever was done to the nodes. */
const MAX_SILENCE_MS = 120_000;
/** Between the end of one fault and the next: time for what it caused to show. */
const REST_MS = { least: 600, spread: 1600 };
const ANSWER_POLL_MS = 250;
/** Without an answer for longer, no further fault is added. */
const SILENT_MS = 2_000;

export interface ChaosOptions extends FabricOptions {
  readonly runMs: number;
  readonly seed: number;
  readonly faults: readonly Fault[];
  /** Where the nodes' logs go, and when something was lost or hangs their data as well; undefined: nowhere. */
  readonly evidence?: string;
  readonly say: (line: string) => void;
}

export interface Inflicted {
  readonly kind: string;
  readonly node: string;
  /** Whether every replica was in sync when it came: what an earlier fault took was back. */
  readonly wasWhole: boolean;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface ChaosResult {
  readonly inflicted: readonly Inflicted[];
  readonly pauses: readonly Pause[];
  readonly starved: readonly Starved[];
  readonly violations: readonly string[];
  /** What ended the run before its time, such as an initiator without an answer. */
  readonly failure: string | undefined;
  readonly unexpectedEnds: readonly string[];
  /** The logs of the nodes that ended unasked, their last lines. */
  readonly lastWords: string;
  readonly progress: Progress;
  /** Of all disks. */
  readonly blocks: number;
}

/**
 * One run: nodes and initiators, a fault every few seconds, everything read back at the end. It ends at the first
 * violation, so that what led to it is still there.
 * @throws Error when the cluster does not even start, with the nodes' last words
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
    const inflicted: Inflicted[] = [];
    const failure = await inflictAndReadBack(fabric, clients, options, inflicted);
    if (options.evidence !== undefined) {
      const isBad = failure !== undefined || clients.violations.length > 0;
      await fabric.keepEvidence(options.evidence, isBad);
    }
    return {
      ...{ inflicted, pauses: clients.pauses, violations: clients.violations, failure },
      starved: clients.starved,
      ...{ unexpectedEnds: fabric.unexpectedEnds, lastWords: fabric.lastWords.join('\n') },
      ...{ progress: clients.progress, blocks: fabric.disks.reduce((sum, disk) => sum + disk.blocks, 0) },
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

/** @returns what ended it before its time */
async function inflictAndReadBack(
  fabric: ChaosFabric,
  clients: Clients,
  options: ChaosOptions,
  inflicted: Inflicted[],
): Promise<string | undefined> {
  try {
    await inflictAll(fabric, clients, options, inflicted);
    if (clients.violations.length > 0) return undefined;
    await fabric.whole(WHOLE_TIMEOUT_MS);
    options.say('everything is read back');
    await clients.finish(FINISH_TIMEOUT_MS);
    return undefined;
  } catch (error) {
    return `${String(error)}\n${fabric.cluster.allLogTails()}`;
  }
}

async function inflictAll(
  fabric: ChaosFabric,
  clients: Clients,
  options: ChaosOptions,
  inflicted: Inflicted[],
): Promise<void> {
  const random = new SeededRandom(options.seed);
  const startMs = monotonicMs();
  while (monotonicMs() < startMs + options.runMs && clients.violations.length === 0) {
    const fault = drawFault(options.faults, random);
    if (fault.destroys === true) await fabric.whole(WHOLE_TIMEOUT_MS);
    const status = await fabric.cluster.waitForStatus('an answer', () => true, WHOLE_TIMEOUT_MS);
    const node = victim(fabric.nodeIds, status, random);
    const wasWhole = isWhole(status);
    const fromMs = monotonicMs();
    await fault.inflict(fabric, node, random);
    inflicted.push({ kind: fault.kind, node, wasWhole, fromMs, toMs: monotonicMs() });
    // What a node lost must be elsewhere before another may lose it as well.
    if (fault.destroys === true) await fabric.whole(WHOLE_TIMEOUT_MS);
    await sleep(REST_MS.least + random.below(REST_MS.spread));
    await untilAnswered(fabric, clients);
    const pauseMs = longestSince(fromMs, clients.pauses);
    options.say(
      `${((fromMs - startMs) / 1000).toFixed(1)} s  ${inflicted.length}. ${fault.kind} of ${node}: pause ${(pauseMs / 1000).toFixed(2)} s; ` +
        `${clients.progress.acknowledged} changes acknowledged, ${clients.violations.length} lost`,
    );
  }
}

function longestSince(fromMs: number, pauses: readonly Pause[]): number {
  let longestMs = 0;
  for (let i = pauses.length - 1; i >= 0; i--) {
    const pause = pauses[i];
    if (pause === undefined || pause.toMs < fromMs) break;
    longestMs = Math.max(longestMs, pause.toMs - pause.fromMs);
  }
  return longestMs;
}

/** Every other time a node that serves, else any. */
function victim(
  nodes: readonly string[],
  { portalGroups }: NodeStatusDocument,
  random: RandomSource,
): string {
  const any = nodes[random.below(nodes.length)] ?? '';
  const serving = portalGroups[random.below(Math.max(1, portalGroups.length))]?.primary ?? any;
  return random.below(2) === 0 ? any : serving;
}

/** @throws Error when an initiator hangs, and not because this machine runs nothing in time */
async function untilAnswered(fabric: ChaosFabric, clients: Clients): Promise<void> {
  for (let polls = 0; clients.silentMs > SILENT_MS; polls++) {
    if (clients.failure !== undefined) throw clients.failure;
    if (clients.silentMs > MAX_SILENCE_MS && polls * ANSWER_POLL_MS > MAX_SILENCE_MS) {
      throw new Error(`an initiator has had no answer for ${Math.round(clients.silentMs)} ms`);
    }
    await sleep(ANSWER_POLL_MS);
  }
  if (clients.failure !== undefined) throw clients.failure;
  for (const node of fabric.nodeIds) {
    if (fabric.cluster.processId(node) === undefined) throw new Error(`node ${node} does not run`);
  }
}
