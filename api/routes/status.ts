import type { FastifyInstance } from 'fastify';
import { routes } from '../contract/routes.ts';
import { type ApiContext, serveRoute } from '../serve-route.ts';

/** How this node is, and the disks it knows. */
export function statusRoutes(app: FastifyInstance, { services }: ApiContext): void {
  serveRoute(app, routes.getStatus, () => services.status());
  serveRoute(app, routes.startScrub, () => services.startScrub());
  serveRoute(app, routes.listLuns, async () => ({ luns: await services.luns() }));
}
