import type { FastifyInstance } from 'fastify';
import { ApiError } from '../api-error.ts';
import { checkToken } from '../authentication.ts';
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
    if (bytes.length === 0) {
      throw new ApiError('wrong-length', 'the file is empty', {
        got: 0,
        accepted: `1 to ${MAX_BOOT_FILE_BYTES} bytes`,
      });
    }
    return services.addBootFile(params.name, bytes);
  });

  serveRoute(app, routes.removeBootFile, async ({ params, http }) => {
    const by = checkToken(http.headers.authorization, cluster.state().tokens).id;
    return services.removeBootFile(params.name, by);
  });
}
