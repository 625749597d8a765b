import { type Gap, type Manner, SteadyWriter, type WriterDisk } from './steady-writer.ts';

/**
 * The initiators of the bench, in a process of their own so that it can stand in another network namespace. Its one
 * argument says which; it prints a line for each time without acknowledgement.
 */
export type WriterReport = Gap | { readonly kind: 'failed'; readonly what: string } | Progress;

interface Progress {
  readonly kind: 'progress';
  readonly acknowledged: Readonly<Record<string, number>>;
}

const PROGRESS_MS = 250;

function say(report: WriterReport): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

const disks = JSON.parse(process.argv[2] ?? '[]') as readonly { manner: Manner; disk: WriterDisk }[];
const writers = disks.map(({ manner, disk }) => ({ manner, writer: new SteadyWriter(disk, manner, say) }));
for (const { writer } of writers) {
  writer.run().catch((error: unknown) => {
    say({ kind: 'failed', what: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exit(1);
  });
}
setInterval(() => {
  const acknowledged = Object.fromEntries(writers.map(({ manner, writer }) => [manner, writer.acknowledged]));
  say({ kind: 'progress', acknowledged });
}, PROGRESS_MS);
// Without the bench there is nothing to do.
process.stdin.on('close', () => process.exit(0)).resume();
