import { createInterface } from 'node:readline';
import { SeededRandom } from '../../base/random.ts';
import { type ClientsOrder, type ClientsReport, PROGRESS_MS, STARVED_MS } from './client-protocol.ts';
import { type DiskEvent, monotonicMs, StampedDisk } from './stamped-disk.ts';

/**
 * The initiators of a chaos run, in a process of their own so that it can stand in another network namespace. Reads
 * orders from standard input, a line each, and tells what happens on standard output, a line each.
 */
let disks: StampedDisk[] = [];

function say(report: ClientsReport): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

function tell(event: DiskEvent): void {
  say(event);
}

function progress(): void {
  const total = (of: (disk: StampedDisk) => number): number => disks.reduce((sum, disk) => sum + of(disk), 0);
  say({
    kind: 'progress',
    acknowledged: total((disk) => disk.acknowledgedWrites),
    checked: total((disk) => disk.checkedBlocks),
    checkedAtEnd: total((disk) => disk.checkedAtEnd),
    sweeps: Math.min(...disks.map((disk) => disk.sweeps)),
    refusedForSpace: total((disk) => disk.refusedForSpace),
    reconnects: total((disk) => disk.reconnects),
    oldestAnswerMs: Math.min(...disks.map((disk) => disk.oldestAnswerMs)),
  });
}

async function obey(order: ClientsOrder): Promise<void> {
  if (order.kind === 'start') {
    disks = order.disks.map(
      (disk) => new StampedDisk(disk, new SeededRandom(order.seed + disk.client), tell),
    );
    await Promise.all(disks.map((disk) => disk.start()));
    say({ kind: 'started' });
    let lastMs = monotonicMs();
    setInterval(() => {
      const nowMs = monotonicMs();
      if (nowMs - lastMs > PROGRESS_MS + STARVED_MS) say({ kind: 'starved', fromMs: lastMs, toMs: nowMs });
      lastMs = nowMs;
      progress();
    }, PROGRESS_MS);
    return;
  }
  await Promise.all(disks.map((disk) => disk.finish()));
  progress();
  say({ kind: 'finished' });
  process.exit(0);
}

createInterface({ input: process.stdin }).on('line', (line) => {
  obey(JSON.parse(line) as ClientsOrder).catch((error: unknown) => {
    say({ kind: 'failed', what: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exit(1);
  });
});
// Without whoever gives the orders there is nothing to do.
process.stdin.on('close', () => process.exit(1));
