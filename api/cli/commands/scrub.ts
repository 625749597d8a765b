import { routes } from '../../contract/routes.ts';
import type { NodeStatusDocument } from '../../contract/status.ts';
import { type CommandContext, print } from '../command-context.ts';
import { counted } from '../table.ts';

/** `bootfabric scrub`: begins on the node that answers. */
export async function startScrub(context: CommandContext): Promise<void> {
  const { nodeId } = await context.api.call(routes.getStatus, {});
  const integrity = await context.api.call(routes.startScrub, {});
  print(context, { nodeId, ...integrity }, () => integrityText({ nodeId, integrity }));
}

/** How sound what a node keeps is, for people. */
export function integrityText({
  nodeId,
  integrity,
}: Pick<NodeStatusDocument, 'nodeId' | 'integrity'>): string {
  const { scrubStartedAt, doneBytes, totalBytes, lastScrubCompletedAt, found, mended, left, leftCount } =
    integrity;
  const last =
    lastScrubCompletedAt === null ? 'not yet completed' : `last completed on ${lastScrubCompletedAt}`;
  const percent = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
  const now = scrubStartedAt === null ? '' : `, under way since ${scrubStartedAt} (${percent} %)`;
  const damage = `${counted(found, 'damaged place', 'damaged places')} found so far, ${mended} mended`;
  const text = `Scrub of ${nodeId}: ${last}${now}; ${damage}\n`;
  if (leftCount === 0) return text;
  const more = leftCount > left.length ? `  and ${leftCount - left.length} more\n` : '';
  const places = left.map((what) => `  ${what}\n`).join('');
  return `${text}ALARM, damaged on ${nodeId}, and no other node has given what was there:\n${places}${more}`;
}
