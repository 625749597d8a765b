import type { FastifyInstance } from 'fastify';
import { ApiError } from '../api-error.ts';
import { checkToken } from '../authentication.ts';
import { routes } from '../contract/routes.ts';
import { type ApiContext, propose, serveRoute } from '../serve-route.ts';

/** The one act by which a portal group goes on without its last in-sync copy. */
export function groupStartRoutes(app: FastifyInstance, { cluster, services, logger }: ApiContext): void {
  serveRoute(app, routes.startGroupFrom, async ({ params, body, http }) => {
    const state = await cluster.linearizableState();
    const group = state.portalGroups[params.id];
    if (group === undefined) {
      throw new ApiError('unknown-portal-group', `there is no portal group "${params.id}"`, {
        got: params.id,
        accepted: Object.keys(state.portalGroups).join(', '),
      });
    }
    const by = checkToken(http.headers.authorization, cluster.state().tokens).id;
    const at = { group: group.id, epoch: group.epoch, nodeId: body.node };
    logger.warn('portal-group.start-from', { ...at, by });
    await propose(cluster, { type: 'startGroupFrom', ...at, atMs: services.membership.nowMs(), by });
    return { group: group.id, node: body.node, epoch: group.epoch + 1 };
  });
}
