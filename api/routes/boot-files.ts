import type { FastifyInstance } from 'fastify';
import { MAX_BOOT_FILE_BYTES } from '../contract/limits.ts';
import { routes } from '../contract/routes.ts';
import { bootFileDocument } from '../documents.ts';
import { type ApiContext, readState, serveRoute } from '../serve-route.ts';
import { collectUpload } from '../upload.ts';

/** Network boot programs an administrator uploads. */
export function bootFileRoutes(app: FastifyInstance, { cluster, services }: ApiContext): void {
  serveRoute(app, routes.listBootFiles, async ({ query }) => {
    const state = await readState(cluster, query);
    return { bootFiles: Object.values(state.bootFiles).map(bootFileDocument) };
  });

  serveRoute(app, routes.addBootFile, async ({ params, http }) => {
    const bytes = await collectUpload(http.raw, MAX_BOOT_FILE_BYTES);
    return services.addBootFile(params.name, bytes);
  });
}
