import { errorDocument, errorText } from '../../base/error-text.ts';
import { OperationError } from '../../base/errors.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';
import type { PortalAddress } from '../iscsi/ports.ts';
import { MIN_WORKER_SESSION_MEMORY_BYTES, SESSION_MEMORY_BYTES } from './limits.ts';
import { type ParsedServeLun, parseServeLunArguments, type ServeLunOptions } from './options.ts';
import { ServeWorker } from './serve-worker.ts';
import { letGo, type PreparedFile, prepareFiles } from './served-files.ts';

export interface ServeLunOutput {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/**
 * `bootfabric serve-lun`: serves until told to stop.
 * @param args what follows "serve-lun"
 * @param whenTold resolves when the run is to end
 * @returns an exit code
 */
export async function runServeLun(
  args: readonly string[],
  output: ServeLunOutput,
  whenTold: Promise<unknown>,
): Promise<number> {
  const parsed = parseServeLunArguments(args);
  if (parsed.kind === 'help') {
    output.out(parsed.text);
    return EXIT_CODE.stopped;
  }
  const fail = (error: unknown): void => {
    const document = errorDocument(error);
    output.err(args.includes('--json') ? `${JSON.stringify(document)}\n` : errorText(document));
  };
  if (parsed.kind === 'usage') {
    fail(usageError(parsed));
    return EXIT_CODE.usage;
  }
  try {
    await serve(parsed.options, output, whenTold);
    return EXIT_CODE.stopped;
  } catch (error) {
    fail(error);
    return EXIT_CODE.refused;
  }
}

function usageError({ message }: Extract<ParsedServeLun, { kind: 'usage' }>): OperationError {
  const accepted = 'see bootfabric serve-lun --help';
  return new OperationError(message, { kind: 'invalid', code: 'usage', accepted });
}

async function serve(
  options: ServeLunOptions,
  output: ServeLunOutput,
  whenTold: Promise<unknown>,
): Promise<void> {
  const prepared = await prepareFiles(options);
  const workers = Array.from({ length: options.workers }, (_, worker) =>
    startWorker(worker, options, prepared),
  );
  const failed = Promise.race(workers.map((worker) => worker.failed));
  let served = false;
  try {
    const portals = await Promise.race([Promise.all(workers.map((worker) => worker.listening)), failed]);
    for (const worker of workers) worker.setPortals(portals);
    output.out(options.json ? reportJson(prepared, portals) : reportText(prepared, portals));
    served = true;
    await Promise.race([whenTold, failed]);
    const merge = options.writes === 'merge';
    if (merge) for (const { writes } of prepared) await writes.beginMerge();
    await Promise.race([Promise.all(workers.map((worker) => worker.stop(merge))), failed]);
    if (merge) for (const { writes } of prepared) await writes.endMerge();
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
    for (const file of prepared) await letGo(file, served);
  }
}

function startWorker(
  worker: number,
  options: ServeLunOptions,
  prepared: readonly PreparedFile[],
): ServeWorker {
  return new ServeWorker({
    worker,
    workers: options.workers,
    files: prepared.map(({ served }) => served),
    listen: options.listen,
    readOnly: options.readOnly,
    cacheBytes: options.cacheBytes,
    queueDepth: options.queueDepth,
    sessionBytes: Math.max(
      MIN_WORKER_SESSION_MEMORY_BYTES,
      Math.floor(SESSION_MEMORY_BYTES / options.workers),
    ),
    logLevel: options.logLevel,
  });
}

type Portals = readonly (readonly PortalAddress[])[];

function urlsOf({ served }: PreparedFile, portals: Portals): string[] {
  return (portals[served.worker] ?? []).map(
    ({ address, port }) => `iscsi://${address}:${port}/${served.targetName}/0`,
  );
}

function reportJson(prepared: readonly PreparedFile[], portals: Portals): string {
  const targets = prepared.map((file) => ({
    file: file.served.path,
    targetName: file.served.targetName,
    lun: 0,
    sizeBytes: file.served.sizeBytes,
    writes: file.writes.path,
    worker: file.served.worker,
    urls: urlsOf(file, portals),
  }));
  return `${JSON.stringify({ targets })}\n`;
}

function reportText(prepared: readonly PreparedFile[], portals: Portals): string {
  return prepared
    .map(
      (file) =>
        `${file.served.path}\n${urlsOf(file, portals)
          .map((url) => `  ${url}\n`)
          .join('')}`,
    )
    .join('');
}
