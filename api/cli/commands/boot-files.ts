import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { MAX_BOOT_FILE_BYTES } from '../../contract/limits.ts';
import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { fileSize } from '../local-file.ts';
import { formatBytes, table } from '../table.ts';

/** `bootfabric boot-file add` */
export async function addBootFile(context: CommandContext, file: string, name?: string): Promise<void> {
  const sizeBytes = await fileSize(file, MAX_BOOT_FILE_BYTES);
  const content = await readFile(file);
  const added = await context.api.call(routes.addBootFile, {
    params: { name: name ?? basename(file) },
    bytes: { sizeBytes, open: () => once(content) },
  });
  print(context, added, `Boot file ${added.name} (${formatBytes(added.sizeBytes)}) is stored\n`);
}

/** `bootfabric boot-file list` */
export async function listBootFiles(context: CommandContext): Promise<void> {
  const document = await context.api.call(routes.listBootFiles, { query: {} });
  const rows = document.bootFiles.map((file) => [
    file.name,
    formatBytes(file.sizeBytes),
    file.holders.join(', '),
    file.sha256,
  ]);
  const text = table(['BOOT FILE', 'SIZE', 'HELD BY', 'SHA-256'], rows);
  print(context, document, text === '' ? 'No boot files were uploaded; iPXE’s own are served\n' : text);
}

/** `bootfabric boot-file remove` */
export async function removeBootFile(context: CommandContext, name: string): Promise<void> {
  const removed = await context.api.call(routes.removeBootFile, { params: { name } });
  print(context, removed, `Boot file ${removed.name} is removed\n`);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
