import type { FastifyInstance } from 'fastify';
import {
  DEFAULT_REBALANCE_DELAY_MS,
  DEFAULT_REPLACE_AFTER_MS,
  DEFAULT_REPLICAS_PER_GROUP,
  MAX_CATCH_UP_BYTES_PER_SECOND,
} from '../../cluster/state/limits.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import { checkToken } from '../authentication.ts';
import type { ClusterSettingsDocument } from '../contract/policies.ts';
import { routes } from '../contract/routes.ts';
import { type ApiContext, propose, readState, serveRoute } from '../serve-route.ts';
import { nodeList } from './nodes.ts';

const MIB = 1024 * 1024;

/** How things are to be: what a node is to hold, when groups move by themselves, what a group's writes need. */
export function policyRoutes(app: FastifyInstance, { cluster, services }: ApiContext): void {
  const said = (authorization: string | undefined): { readonly atMs: number; readonly by: string } => ({
    atMs: services.membership.nowMs(),
    by: checkToken(authorization, cluster.state().tokens).id,
  });

  serveRoute(app, routes.setNodePlacement, async ({ params, body, http }) => {
    const { weight, rack } = body;
    const clear = Object.entries(body).flatMap(([name, value]) => (value === null ? [name] : []));
    await propose(cluster, {
      type: 'setNode',
      nodeId: params.id,
      ...(typeof weight === 'number' ? { weight } : {}),
      ...(typeof rack === 'string' ? { rack } : {}),
      clear,
      ...said(http.headers.authorization),
    });
    return nodeList(cluster);
  });

  serveRoute(app, routes.getClusterSettings, async ({ query }) =>
    settingsDocument(await readState(cluster, query)),
  );

  serveRoute(app, routes.setClusterSettings, async ({ body, http }) => {
    const { replicasPerGroup, rebalance, rebalanceDelaySeconds, replaceAfterSeconds } = body;
    const { catchUpMebibytesPerSecond } = body;
    await propose(cluster, {
      type: 'setCluster',
      ...(replicasPerGroup === undefined ? {} : { replicasPerGroup }),
      ...(rebalance === undefined ? {} : { rebalance }),
      ...(rebalanceDelaySeconds === undefined ? {} : { rebalanceDelayMs: rebalanceDelaySeconds * 1000 }),
      ...(replaceAfterSeconds === undefined ? {} : { replaceAfterMs: replaceAfterSeconds * 1000 }),
      ...(catchUpMebibytesPerSecond === undefined
        ? {}
        : { catchUpBytesPerSecond: catchUpMebibytesPerSecond * MIB }),
      ...said(http.headers.authorization),
    });
    return settingsDocument(cluster.state());
  });

  serveRoute(app, routes.setGroupPolicy, async ({ params, body, http }) => {
    const { minInSync, durability } = body;
    await propose(cluster, {
      type: 'setPortalGroup',
      group: params.id,
      ...(minInSync === undefined ? {} : { minInSync }),
      ...(durability === undefined ? {} : { durability }),
      ...said(http.headers.authorization),
    });
    const group = cluster.state().portalGroups[params.id];
    return {
      id: params.id,
      minInSync: group?.minInSync ?? 1,
      durability: group?.durability ?? ('write-back' as const),
    };
  });
}

function settingsDocument({ settings }: ClusterState): ClusterSettingsDocument {
  return {
    replicasPerGroup: settings.replicasPerGroup ?? DEFAULT_REPLICAS_PER_GROUP,
    rebalance: settings.rebalance ?? 'on',
    rebalanceDelaySeconds: (settings.rebalanceDelayMs ?? DEFAULT_REBALANCE_DELAY_MS) / 1000,
    replaceAfterSeconds: (settings.replaceAfterMs ?? DEFAULT_REPLACE_AFTER_MS) / 1000,
    catchUpMebibytesPerSecond: (settings.catchUpBytesPerSecond ?? MAX_CATCH_UP_BYTES_PER_SECOND) / MIB,
  };
}
