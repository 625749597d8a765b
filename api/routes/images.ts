import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError } from '../api-error.ts';
import { checkToken } from '../authentication.ts';
import { routes } from '../contract/routes.ts';
import { findImageVersion, imageVersionDocument } from '../documents.ts';
import { IDLE_TIMEOUT_MS, IMPORT_IDLE_TIMEOUT_MS, MAX_IMPORTS } from '../limits.ts';
import { type ApiContext, readState, serveRoute } from '../serve-route.ts';
import { checkAnnouncedLength, uploadedBytes } from '../upload.ts';

/** Golden disks: shown, and given new versions. */
export function imageRoutes(app: FastifyInstance, context: ApiContext): void {
  const { cluster } = context;

  serveRoute(app, routes.listImages, async ({ query }) => {
    const state = await readState(cluster, query);
    const images = Object.values(state.images).map((image) => ({
      name: image.name,
      versions: image.versions.map((version) => imageVersionDocument(state, image, version)),
    }));
    return { images };
  });

  serveRoute(app, routes.getImageVersion, async ({ params, query }) => {
    const state = await readState(cluster, query);
    const { image, version } = findImageVersion(state, params.name, params.version);
    return imageVersionDocument(state, image, version);
  });

  serveRoute(app, routes.removeImageVersion, async ({ params, http }) => {
    const by = checkToken(http.headers.authorization, cluster.state().tokens).id;
    return context.services.removeImageVersion(params.name, params.version, by);
  });

  let importing = 0;
  serveRoute(app, routes.importImage, async ({ params, query, http }) => {
    checkAnnouncedLength(http.raw, query.sizeBytes);
    if (importing >= MAX_IMPORTS) {
      throw new ApiError('too-many-imports', 'this node is receiving as many images as it takes at once', {
        got: importing,
        accepted: `at most ${MAX_IMPORTS} at a time; try again, or ask another node`,
      });
    }
    importing++;
    try {
      return await receiveImage(context, http, params.name, query.sizeBytes);
    } finally {
      importing--;
    }
  });
}

async function receiveImage(
  { services, logger }: ApiContext,
  http: FastifyRequest,
  name: string,
  sizeBytes: number,
): Promise<{ image: string; version: number }> {
  const { socket } = http.raw;
  const abort = new AbortController();
  const onClose = (): void => abort.abort();
  socket.once('close', onClose);
  socket.setTimeout(IMPORT_IDLE_TIMEOUT_MS);
  logger.info('api.import.started', { name, sizeBytes });
  try {
    const source = uploadedBytes(http.raw, sizeBytes);
    const made = await services.importImage({ name, source, sizeBytes, signal: abort.signal });
    logger.info('api.import.done', { ...made, sizeBytes });
    return { image: made.image, version: made.version };
  } catch (error) {
    logger.warn('api.import.failed', { name, sizeBytes, error: String(error) });
    throw error;
  } finally {
    socket.off('close', onClose);
    socket.setTimeout(IDLE_TIMEOUT_MS);
  }
}
