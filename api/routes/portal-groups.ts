import type { FastifyInstance } from 'fastify';
import type { ClusterState } from '../../cluster/state/model.ts';
import { checkToken } from '../authentication.ts';
import { routes } from '../contract/routes.ts';
import { DEFAULT_ISCSI_PORT } from '../limits.ts';
import { type ApiContext, propose, serveRoute } from '../serve-route.ts';

/** Portal groups that come and go. */
export function portalGroupRoutes(app: FastifyInstance, { cluster, services }: ApiContext): void {
  const said = (authorization: string | undefined): { readonly atMs: number; readonly by: string } => ({
    atMs: services.membership.nowMs(),
    by: checkToken(authorization, cluster.state().tokens).id,
  });

  serveRoute(app, routes.addPortalGroup, async ({ body, http }) => {
    const state = await cluster.linearizableState();
    const { address, replicas, ofFormerNode } = body;
    const group = body.id ?? nextId(state);
    const port = body.port ?? Object.values(state.portalGroups)[0]?.port ?? DEFAULT_ISCSI_PORT;
    await propose(cluster, {
      type: 'addPortalGroup',
      group,
      address,
      port,
      ...(replicas === undefined ? {} : { replicas }),
      ...(ofFormerNode === true ? { ofFormerNode } : {}),
      ...said(http.headers.authorization),
    });
    const added = cluster.state().portalGroups[group];
    return { id: group, portal: `${address}:${port}`, replicas: [...(added?.replicas ?? replicas ?? [])] };
  });

  serveRoute(app, routes.removePortalGroup, async ({ params, http }) => {
    await propose(cluster, {
      type: 'removePortalGroup',
      group: params.id,
      ...said(http.headers.authorization),
    });
    return { id: params.id };
  });
}

/** As `init` numbers them, above all that there are or were. */
function nextId({ portalGroups, removedPortalGroups = [] }: ClusterState): string {
  const numbers = [...Object.keys(portalGroups), ...removedPortalGroups].map((id) =>
    Number(/^pg(\d{1,6})$/.exec(id)?.[1] ?? 0),
  );
  return `pg${Math.max(0, ...numbers) + 1}`;
}
