import type { FastifyInstance } from 'fastify';
import { type JoinRequestDocument, joinRequestSchema, joinRoutes } from '../contract/join.ts';
import type { ApiContext } from '../serve-route.ts';

/** For hosts that are no nodes yet. Open to everyone; see contract/join.ts for what that means. */
export function joinRoutesOf(app: FastifyInstance, { services }: ApiContext): void {
  const { membership } = services;
  app.get(joinRoutes.authority, { schema: { hide: true } }, () => membership.authority());
  app.post(joinRoutes.nodes, { schema: { body: joinRequestSchema, hide: true } }, (request) =>
    membership.join(request.body as JoinRequestDocument),
  );
}
