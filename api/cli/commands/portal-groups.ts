import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { groupTable } from './status.ts';

/** `bootfabric portal-group list` */
export async function listPortalGroups(context: CommandContext): Promise<void> {
  const status = await context.api.call(routes.getStatus, {});
  const { nodeId, portalGroups } = status;
  print(context, { nodeId, portalGroups }, () => groupTable(status));
}

export interface AddPortalGroupOptions {
  readonly id?: string;
  readonly port?: number;
  readonly on?: readonly string[];
  readonly ofFormerNode?: boolean;
}

/** `bootfabric portal-group add` */
export async function addPortalGroup(
  context: CommandContext,
  address: string,
  { id, port, on, ofFormerNode }: AddPortalGroupOptions,
): Promise<void> {
  const added = await context.api.call(routes.addPortalGroup, {
    body: {
      address,
      ...(id === undefined ? {} : { id }),
      ...(port === undefined ? {} : { port }),
      ...(on === undefined ? {} : { replicas: [...on] }),
      ...(ofFormerNode === undefined ? {} : { ofFormerNode }),
    },
  });
  print(context, added, `Portal group ${added.id} at ${added.portal}, on ${added.replicas.join(', ')}\n`);
}

/** `bootfabric portal-group remove` */
export async function removePortalGroup(context: CommandContext, id: string): Promise<void> {
  const removed = await context.api.call(routes.removePortalGroup, { params: { id } });
  print(context, removed, `Portal group ${removed.id} is removed\n`);
}
