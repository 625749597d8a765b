import type { FastifyInstance } from 'fastify';
import type { Static, TObject } from 'typebox';
import { membersTold } from '../../cluster/membership.ts';
import type { ClusterView } from '../../cluster/ports.ts';
import { ApiError } from '../api-error.ts';
import type { MembersDocument } from '../contract/join.ts';
import { peerRoutes } from '../contract/peer-content.ts';
import type { ApiContext } from '../serve-route.ts';

/** What nodes ask of each other. The caller has been found to be a node before any of this runs. */
export function peerContentRoutes(app: FastifyInstance, { cluster, services }: ApiContext): void {
  const { content } = services;
  serveBytes(app, peerRoutes.imageManifest, ({ name, version }) => content.imageManifest(name, version));
  serveBytes(app, peerRoutes.imageChunk, ({ name, version, index }) =>
    content.imageChunk(name, version, index),
  );
  serveBytes(app, peerRoutes.bootFile, ({ name, sha256 }) => content.bootFile(name, sha256));
  app.get(peerRoutes.members.path, { schema: { hide: true } }, async () => membersDocument(cluster));
  const { copy } = peerRoutes;
  app.get(copy.path, { schema: { params: copy.params, hide: true } }, (request) =>
    services.readCopy(cluster.nodeId, (request.params as Static<typeof copy.params>).id),
  );
  const { imageUse } = peerRoutes;
  app.get(imageUse.path, { schema: { params: imageUse.params, hide: true } }, (request) => {
    const { name, version } = request.params as Static<typeof imageUse.params>;
    return services.imageUse(name, version);
  });
  const { path, params } = peerRoutes.beginBoot;
  app.post(path, { schema: { params, hide: true } }, (request) =>
    services.beginBoot((request.params as Static<typeof params>).name),
  );
}

function membersDocument(cluster: ClusterView): MembersDocument {
  const { members, leftIds } = membersTold(cluster.state(), (nodeId) => cluster.hasLeft(nodeId));
  return {
    members: members.map((member) => ({ ...member, endpoints: { ...member.endpoints } })),
    removed: [...leftIds],
  };
}

function serveBytes<P extends TObject>(
  app: FastifyInstance,
  route: { readonly path: string; readonly params: P },
  read: (params: Static<P>) => Promise<Uint8Array | undefined>,
): void {
  app.get(route.path, { schema: { params: route.params, hide: true } }, async (request, reply) => {
    const bytes = await read(request.params as Static<P>);
    if (bytes === undefined) {
      throw new ApiError('not-held', 'this node does not hold the content asked for', { got: request.url });
    }
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return reply.type('application/octet-stream').send(view);
  });
}
