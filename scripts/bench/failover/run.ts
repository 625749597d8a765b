import type { ChildProcess } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ChaosFabric } from '../../chaos/fabric.ts';
import { monotonicMs } from '../../chaos/stamped-disk.ts';
import { kill } from '../../lab/process-run.ts';
import { breakdownOf, NodeLogs } from './node-logs.ts';
import { MANNERS, pauseOf, type Trouble } from './report.ts';
import type { Gap } from './steady-writer.ts';
import type { WriterReport } from './writers-main.ts';

const GROUP = 'pg1';
const DISK_MIB = 1024;
const WHOLE_TIMEOUT_MS = 240_000;
const WRITERS_PROGRAM = resolve('dist/scripts/bench/failover/writers-main.js');
/** Within this time after it a pause is over, or it counts as that long. */
const OVER_AFTER_MS = 30_000;
/** What begins so long after a trouble is none of its doing. */
const ITS_DOING_MS = 2_500;
const POLL_MS = 50;

export interface FailoverOptions {
  readonly nodes: number;
  readonly kills: number;
  readonly moves: number;
  readonly drains: number;
  readonly stops: number;
  /** Between two troubles, when all is whole again. */
  readonly restMs: number;
  /** Where the nodes' logs go; undefined: nowhere. */
  readonly logs?: string;
  readonly say: (trouble: Trouble) => void;
}

/** The initiators' process, as the bench sees it. */
class Writers {
  readonly gaps: Gap[] = [];
  readonly #child: ChildProcess;
  #failure: Error | undefined;
  acknowledged: Readonly<Record<string, number>> = {};

  constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('the initiators are not connected');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const report = JSON.parse(line) as WriterReport;
      if (report.kind === 'gap') this.gaps.push(report);
      else if (report.kind === 'progress') this.acknowledged = report.acknowledged;
      else this.#failure ??= new Error(`an initiator failed: ${report.what}`);
    });
    child.on('exit', (code) => {
      this.#failure ??= new Error(`the initiators ended with ${code}`);
    });
  }

  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async end(): Promise<void> {
    await kill(this.#child);
  }
}

/** @throws Error when the cluster does not start or an initiator fails, with the nodes' last words */
export async function runFailovers(options: FailoverOptions): Promise<readonly Trouble[]> {
  const { nodes } = options;
  const rate = { stepsPerSecond: 1, diskMib: DISK_MIB };
  const fabric = new ChaosFabric({ nodes, clients: MANNERS.length, portalGroup: GROUP, ...rate });
  const remove = (): void => {
    void fabric.remove().finally(() => process.exit(130));
  };
  process.once('SIGINT', remove);
  process.once('SIGTERM', remove);
  let writers: Writers | undefined;
  try {
    await fabric.start();
    const disks = MANNERS.map((manner, i) => ({ manner, disk: fabric.disks[i] }));
    const args = ['--enable-source-maps', WRITERS_PROGRAM, JSON.stringify(disks)];
    writers = new Writers(fabric.lab.spawnAt('site', process.execPath, args, ['pipe', 'pipe', 'inherit']));
    const bench = new Bench(fabric, writers, options.restMs);
    await bench.untilAllWrite();
    const troubles: Trouble[] = [];
    for (const kind of orderOf(options)) {
      const trouble = await bench.inflict(kind);
      options.say(trouble);
      troubles.push(trouble);
    }
    if (options.logs !== undefined) await fabric.keepEvidence(options.logs, false);
    return troubles;
  } catch (error) {
    throw new Error(`${String(error)}\n${fabric.cluster.allLogTails()}`, { cause: error });
  } finally {
    process.off('SIGINT', remove);
    process.off('SIGTERM', remove);
    await writers?.end();
    await fabric.remove();
  }
}

type Kind = 'SIGKILL' | 'move' | 'drain' | 'SIGTERM';

/** In turn, so that all meet the same machine. */
function orderOf({ kills, moves, drains, stops }: FailoverOptions): Kind[] {
  const order: Kind[] = [];
  for (let i = 0; i < Math.max(kills, moves, drains, stops); i++) {
    if (i < kills) order.push('SIGKILL');
    if (i < moves) order.push('move');
    if (i < drains) order.push('drain');
    if (i < stops) order.push('SIGTERM');
  }
  return order;
}

class Bench {
  readonly #fabric: ChaosFabric;
  readonly #writers: Writers;
  readonly #logs: NodeLogs;

  readonly #restMs: number;

  constructor(fabric: ChaosFabric, writers: Writers, restMs: number) {
    this.#fabric = fabric;
    this.#writers = writers;
    this.#restMs = restMs;
    this.#logs = new NodeLogs(fabric.nodeIds.map((id) => fabric.cluster.logFile(id)));
  }

  async untilAllWrite(): Promise<void> {
    const deadlineMs = monotonicMs() + OVER_AFTER_MS;
    while (!MANNERS.every((manner) => (this.#writers.acknowledged[manner] ?? 0) > 0)) {
      this.#writers.check();
      if (monotonicMs() > deadlineMs) throw new Error('no write was acknowledged');
      await sleep(POLL_MS);
    }
  }

  async inflict(kind: Kind): Promise<Trouble> {
    const { cluster } = this.#fabric;
    const { portalGroups } = await this.#fabric.whole(WHOLE_TIMEOUT_MS);
    await sleep(this.#restMs);
    const group = portalGroups.find(({ id }) => id === GROUP);
    const node = group?.primary ?? undefined;
    const to = group?.inSync.find((member) => member !== node);
    if (node === undefined || to === undefined)
      throw new Error(`portal group ${GROUP} is not served by several`);
    this.#logs.take();
    this.#writers.gaps.length = 0;
    this.#fabric.unexpectedEnds.length = 0;
    const wallMs = Date.now();
    const atMs = monotonicMs();
    if (kind === 'SIGKILL') await cluster.killNode(node);
    else if (kind === 'SIGTERM') await cluster.killNode(node, 'SIGTERM');
    else if (kind === 'move') await cluster.admin(['portal-group', 'move', GROUP, to]);
    else await cluster.admin(['node', 'drain', node]);
    const gaps = await this.#longestGaps(atMs);
    const steps = breakdownOf(this.#logs.take(), {
      ...{ atMs: wallMs, node, group: GROUP, address: this.#fabric.disks[0]?.host ?? '' },
    });
    if (kind === 'drain') await cluster.admin(['node', 'undrain', node]);
    if (kind === 'SIGKILL' || kind === 'SIGTERM') cluster.startNode(node);
    const unexpectedEnds = [...this.#fabric.unexpectedEnds];
    return { kind, node, steps, pauses: gaps.map((gap) => pauseOf(gap, atMs)), unexpectedEnds };
  }

  /** Of each initiator the longest that began in time; waited for until each has gone on. */
  async #longestGaps(atMs: number): Promise<readonly Gap[]> {
    for (;;) {
      await sleep(POLL_MS);
      this.#writers.check();
      const during = this.#writers.gaps.filter(
        ({ fromMs, toMs }) => toMs > atMs && fromMs < atMs + ITS_DOING_MS,
      );
      const longest = MANNERS.flatMap((manner) => {
        const own = during.filter((gap) => gap.manner === manner);
        return own.length === 0
          ? []
          : [own.reduce((a, b) => (b.toMs - b.fromMs > a.toMs - a.fromMs ? b : a))];
      });
      const passedMs = monotonicMs() - atMs;
      const haveAllMoved = MANNERS.every((manner) =>
        during.some((gap) => gap.manner === manner && gap.session !== undefined),
      );
      if (passedMs > ITS_DOING_MS && haveAllMoved) return longest;
      if (passedMs > OVER_AFTER_MS) throw new Error(`an initiator has had no answer for ${OVER_AFTER_MS} ms`);
    }
  }
}
