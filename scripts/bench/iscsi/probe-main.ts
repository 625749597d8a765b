import { randomInt } from 'node:crypto';
import { connectInitiator, type Initiator } from '../../simulator/iscsi-initiator.ts';

/**
 * A measuring client: keeps so many commands in flight for some time and prints the percentiles of what each
 * took, as JSON. One argument, a JSON document of ProbeSettings.
 */
export interface ProbeSettings {
  readonly url: string;
  readonly operation: 'read' | 'write';
  readonly sizeBytes: number;
  /** once: from the first block to the last, then no more. */
  readonly pattern: 'random' | 'sequential' | 'once';
  readonly depth: number;
  readonly seconds: number;
}

const BLOCK_BYTES = 512;
/** Writes end at this number, so that a log that only grows stays within what a machine has. */
const MAX_WRITTEN_BYTES = 1024 * 1024 * 1024;
/** Before it counts: code is compiled, windows open. */
const WARM_UP_SHARE = 0.2;

async function main(): Promise<void> {
  const settings = JSON.parse(process.argv[2] ?? '') as ProbeSettings;
  const { hostname, port, pathname } = new URL(settings.url.replace('iscsi:', 'http:'));
  const [, targetName = '', lun = ''] = decodeURIComponent(pathname).split('/');
  const initiator = await connectInitiator({
    host: hostname,
    port: Number(port),
    targetName,
    lun: Number(lun),
    initiatorName: 'iqn.2026-11.net.example:probe',
    queueDepth: settings.depth,
  });
  const took = await loop(initiator, settings);
  took.sort();
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0;
  process.stdout.write(`${JSON.stringify({ p50Ms: at(0.5), p99Ms: at(0.99), operations: took.length })}\n`);
  initiator.destroy();
}

async function loop(initiator: Initiator, settings: ProbeSettings): Promise<Float64Array> {
  const blocks = settings.sizeBytes / BLOCK_BYTES;
  const slots = Math.floor(initiator.capacity.blocks / blocks);
  const data = Buffer.alloc(settings.sizeBytes, 'p');
  const took: number[] = [];
  const startMs = performance.now();
  const countFromMs = startMs + settings.seconds * 1000 * WARM_UP_SHARE;
  const endMs = startMs + settings.seconds * 1000;
  let next = 0;
  let left = Number.POSITIVE_INFINITY;
  if (settings.operation === 'write') left = Math.floor(MAX_WRITTEN_BYTES / settings.sizeBytes);
  if (settings.pattern === 'once') left = slots;
  const one = async (): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < endMs && left > 0; ) {
      const slot = settings.pattern === 'random' ? randomInt(slots) : next++ % slots;
      left--;
      if (settings.operation === 'write') await initiator.write(slot * blocks, data);
      else await initiator.read(slot * blocks, blocks);
      const doneMs = performance.now();
      if (nowMs >= countFromMs) took.push(doneMs - nowMs);
      nowMs = doneMs;
    }
  };
  await Promise.all(Array.from({ length: settings.depth }, one));
  return Float64Array.from(took);
}

await main();
