import type { NewClusterSettingsDocument, NewGroupPolicyDocument } from '../../contract/policies.ts';
import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { UsageError } from '../failures.ts';
import { listText } from './nodes.ts';

export interface NodeSetOptions {
  readonly weight?: number | 'own';
  readonly rack?: string;
}

/** What stands for "as the node's own settings say". */
export const OWN = 'own';

/** `bootfabric node set` */
export async function setNode(context: CommandContext, id: string, options: NodeSetOptions): Promise<void> {
  const { weight, rack } = options;
  if (weight === undefined && rack === undefined) {
    throw new UsageError('nothing to set', { accepted: '--weight, --rack or both' });
  }
  const list = await context.api.call(routes.setNodePlacement, {
    params: { id },
    body: {
      ...(weight === undefined ? {} : { weight: weight === OWN ? null : weight }),
      ...(rack === undefined ? {} : { rack: rack === OWN ? null : rack }),
    },
  });
  print(context, list, () => listText(list));
}

/** `bootfabric cluster show` */
export async function showCluster(context: CommandContext): Promise<void> {
  const settings = await context.api.call(routes.getClusterSettings, { query: {} });
  print(context, settings, () => settingsText(settings));
}

/** `bootfabric cluster set` */
export async function setCluster(context: CommandContext, body: NewClusterSettingsDocument): Promise<void> {
  if (Object.keys(body).length === 0) {
    throw new UsageError('nothing to set', { accepted: 'one of the options that --help lists' });
  }
  const settings = await context.api.call(routes.setClusterSettings, { body });
  print(context, settings, () => settingsText(settings));
}

function settingsText(settings: {
  readonly replicasPerGroup: number;
  readonly rebalance: 'on' | 'off';
  readonly rebalanceDelaySeconds: number;
  readonly replaceAfterSeconds: number;
  readonly catchUpMebibytesPerSecond: number;
}): string {
  return (
    `Copies of each portal group:     ${settings.replicasPerGroup}\n` +
    `Rebalancing:                     ${settings.rebalance}, after ${settings.rebalanceDelaySeconds} s of calm\n` +
    `Copies of a node that is down:   made anew after ${settings.replaceAfterSeconds} s\n` +
    `Copies that catch up:            sent at most ${settings.catchUpMebibytesPerSecond} MiB/s by each node\n`
  );
}

/** `bootfabric portal-group set` */
export async function setPortalGroup(
  context: CommandContext,
  id: string,
  body: NewGroupPolicyDocument,
): Promise<void> {
  if (Object.keys(body).length === 0) {
    throw new UsageError('nothing to set', { accepted: '--min-in-sync, --durability or both' });
  }
  const policy = await context.api.call(routes.setGroupPolicy, { params: { id }, body });
  print(
    context,
    policy,
    `Portal group ${id}: ${policy.durability}; writes wait while fewer than ${policy.minInSync} are in sync\n`,
  );
}
