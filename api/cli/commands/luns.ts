import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { formatBytes, orDash, table } from '../table.ts';

/** `bootfabric lun list` */
export async function listLuns(context: CommandContext): Promise<void> {
  const document = await context.api.call(routes.listLuns, {});
  const rows = document.luns.map((lun) => [
    String(lun.lunId),
    lun.client,
    `${lun.image} (${lun.imageVersion ?? 'newest'})`,
    lun.sizeBytes === null ? '-' : formatBytes(lun.sizeBytes),
    lun.writeCache,
    lun.writtenBytes === null ? '-' : formatBytes(lun.writtenBytes),
    `${lun.portalGroup} at ${lun.portal}`,
    orDash(lun.primary),
    String(lun.sessions),
  ]);
  const headings = [
    'LUN',
    'CLIENT',
    'IMAGE',
    'SIZE',
    'WRITE CACHE',
    'WRITTEN',
    'PORTAL GROUP',
    'PRIMARY',
    'SESSIONS',
  ];
  const text = table(headings, rows);
  print(
    context,
    document,
    text === '' ? 'There are no LUNs; each client gets one when it is registered\n' : text,
  );
}
