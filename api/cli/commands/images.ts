import { createReadStream } from 'node:fs';
import { describeError, OperationError } from '../../../base/errors.ts';
import type { ImageVersionDocument } from '../../contract/images.ts';
import { MAX_IMAGE_BYTES, SECTOR_BYTES } from '../../contract/limits.ts';
import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { UnreachableError } from '../failures.ts';
import {
  DISTRIBUTION_POLL_MS,
  DISTRIBUTION_STALL_MS,
  DISTRIBUTION_UNREACHABLE_MS,
  READ_BYTES,
} from '../limits.ts';
import { fileSize } from '../local-file.ts';
import { ProgressLine } from '../progress-line.ts';
import { counted, formatBytes, table } from '../table.ts';

/** `bootfabric image list` */
export async function listImages(context: CommandContext): Promise<void> {
  const document = await context.api.call(routes.listImages, { query: {} });
  const rows = document.images
    .flatMap((image) => image.versions)
    .map((v) => [v.image, String(v.version), formatBytes(v.sizeBytes), v.createdAt, holdersText(v)]);
  const text = table(['IMAGE', 'VERSION', 'SIZE', 'CREATED', 'HELD BY'], rows);
  print(context, document, text === '' ? 'There are no images\n' : text);
}

/** `bootfabric image remove` */
export async function removeImage(context: CommandContext, name: string, version: number): Promise<void> {
  const removed = await context.api.call(routes.removeImageVersion, { params: { name, version } });
  print(
    context,
    removed,
    `Image ${removed.image} has no version ${removed.version} any more; nodes remove their files of it by and by\n`,
  );
}

const nodesOf = (v: ImageVersionDocument): number => v.holders.length + v.awaited.length + v.absent.length;

function holdersText(v: ImageVersionDocument): string {
  const complete = v.awaited.length + v.absent.length === 0;
  return complete
    ? counted(v.holders.length, 'node')
    : `${v.holders.length} of ${nodesOf(v)}: ${v.holders.join(', ')}`;
}

/** `bootfabric image import`; waits until every node that is up holds the version, unless told not to. */
export async function importImage(
  context: CommandContext,
  request: { readonly name: string; readonly file: string; readonly wait: boolean },
): Promise<void> {
  const { name, file } = request;
  const sizeBytes = await fileSize(file, MAX_IMAGE_BYTES, SECTOR_BYTES);
  const progress = new ProgressLine(context.io, context.asJson);
  const startedMs = context.io.clock.monotonicMs();
  const imported = await context.api.call(routes.importImage, {
    params: { name },
    query: { sizeBytes },
    bytes: {
      sizeBytes,
      open: () => readParts(file, sizeBytes),
      onProgress: (sentBytes) => {
        const seconds = (context.io.clock.monotonicMs() - startedMs) / 1000;
        progress.show(() => sendingText(sentBytes, sizeBytes, seconds));
      },
    },
  });
  const seconds = (context.io.clock.monotonicMs() - startedMs) / 1000;
  progress.finish(sendingText(sizeBytes, sizeBytes, seconds));
  const held = request.wait
    ? await awaitDistribution(context, imported, progress)
    : await context.api.call(routes.getImageVersion, {
        params: { name: imported.image, version: imported.version },
        query: {},
      });
  print(context, held, () => importedText(held));
}

/** Exactly the bytes that were announced, though the file may grow meanwhile. */
function readParts(file: string, sizeBytes: number): AsyncIterable<Uint8Array> {
  return createReadStream(file, { end: sizeBytes - 1, highWaterMark: READ_BYTES });
}

function sendingText(sentBytes: number, sizeBytes: number, seconds: number): string {
  const rate = seconds > 0 ? `, ${formatBytes(Math.round(sentBytes / seconds))}/s` : '';
  const percent = Math.floor((sentBytes / sizeBytes) * 100);
  return `sent ${formatBytes(sentBytes)} of ${formatBytes(sizeBytes)} (${percent} %)${rate}`;
}

function importedText(v: ImageVersionDocument): string {
  const absent = v.absent.length === 0 ? '' : `Not up, to fetch it when back: ${v.absent.join(', ')}\n`;
  return `Image ${v.image} has version ${v.version}, held by ${holdersText(v)}\n${absent}`;
}

async function awaitDistribution(
  context: CommandContext,
  { image, version }: { readonly image: string; readonly version: number },
  progress: ProgressLine,
): Promise<ImageVersionDocument> {
  const { clock, sleep } = context.io;
  let changedMs = clock.monotonicMs();
  let reachedMs = changedMs;
  let holders = 0;
  for (;;) {
    try {
      const held = await context.api.call(routes.getImageVersion, {
        params: { name: image, version },
        query: {},
      });
      reachedMs = clock.monotonicMs();
      if (held.holders.length !== holders) {
        holders = held.holders.length;
        changedMs = reachedMs;
        progress.finish(`distributed to ${holders} of ${counted(nodesOf(held), 'node')}`);
      }
      if (held.awaited.length === 0) return held;
      if (reachedMs - changedMs > DISTRIBUTION_STALL_MS) throw stalled(held);
    } catch (error) {
      const passing = error instanceof OperationError && error.kind === 'unavailable';
      if (!passing) throw error;
      if (clock.monotonicMs() - reachedMs > DISTRIBUTION_UNREACHABLE_MS) {
        const message = `image ${image} is stored, but nobody says where else: ${describeError(error)}`;
        throw new UnreachableError(message, { got: error.got, accepted: 'look with bootfabric image list' });
      }
    }
    await sleep(DISTRIBUTION_POLL_MS);
  }
}

/** Of a kind that is not taken for a passing one. */
function stalled(held: ImageVersionDocument): OperationError {
  return new OperationError(
    `image ${held.image} is stored, but ${held.awaited.join(' and ')} did not fetch it`,
    {
      kind: 'conflict',
      code: 'not-distributed',
      got: `held by ${held.holders.join(', ')}`,
      accepted: `all of ${nodesOf(held)} nodes; look into the logs of ${held.awaited.join(' and ')}`,
    },
  );
}
