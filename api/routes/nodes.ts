import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ClusterView } from '../../cluster/ports.ts';
import type { ClusterState, NodeId, NodeRecord, PortalGroupRecord } from '../../cluster/state/model.ts';
import { rackOf, weightOf } from '../../cluster/state/node-placement.ts';
import { isLeaving, isThere } from '../../cluster/state/primaries.ts';
import { obstaclesToRemoval } from '../../cluster/state/removal.ts';
import { versionOf } from '../../cluster/state/versions.ts';
import { ApiError } from '../api-error.ts';
import { checkToken } from '../authentication.ts';
import { BACKUP_FORMAT_VERSION } from '../contract/limits.ts';
import type { NodeDocument, NodeListDocument } from '../contract/nodes.ts';
import { routes } from '../contract/routes.ts';
import { findGroup } from '../documents.ts';
import { type ApiContext, propose, readState, serveRoute } from '../serve-route.ts';

const DEFAULT_JOIN_TOKEN_SECONDS = 24 * 3600;

/** Nodes: let in, drained, replaced and removed; and where portal groups are led. */
export function nodeRoutes(app: FastifyInstance, context: ApiContext): void {
  const { cluster, services } = context;
  serveRoute(app, routes.listNodes, async ({ query }) => nodeList(cluster, await readState(cluster, query)));

  serveRoute(app, routes.createJoinToken, async ({ body, http }) => {
    const lifetimeMs = (body.lifetimeSeconds ?? DEFAULT_JOIN_TOKEN_SECONDS) * 1000;
    return services.membership.createJoinToken(lifetimeMs, callerOf(context, http));
  });

  serveRoute(app, routes.revokeJoinToken, async ({ params, http }) => {
    const atMs = services.membership.nowMs();
    await propose(cluster, {
      type: 'revokeJoinToken',
      id: params.id,
      atMs,
      by: callerOf(context, http),
    });
    return { id: params.id };
  });

  const act = async (
    command: { readonly nodeId: string } & (
      | { readonly type: 'drainNode' | 'undrainNode' | 'removeNode' }
      | { readonly type: 'replaceNode'; readonly replacement: string }
    ),
    http: FastifyRequest,
  ): Promise<NodeListDocument> => {
    const atMs = services.membership.nowMs();
    await propose(cluster, { ...command, atMs, by: callerOf(context, http) });
    return nodeList(cluster);
  };
  serveRoute(app, routes.drainNode, ({ params, http }) =>
    act({ type: 'drainNode', nodeId: params.id }, http),
  );
  serveRoute(app, routes.undrainNode, ({ params, http }) =>
    act({ type: 'undrainNode', nodeId: params.id }, http),
  );
  serveRoute(app, routes.removeNode, ({ params, http }) =>
    act({ type: 'removeNode', nodeId: params.id }, http),
  );
  serveRoute(app, routes.replaceNode, ({ params, body, http }) =>
    act({ type: 'replaceNode', nodeId: params.id, replacement: body.replacement }, http),
  );

  moveRoute(app, context);
  serveRoute(app, routes.getBackup, async () => {
    const state = await cluster.linearizableState();
    const text = JSON.stringify(state);
    return {
      format: 'bootfabric-backup' as const,
      version: BACKUP_FORMAT_VERSION,
      clusterId: state.clusterId,
      clusterName: state.clusterName,
      takenAt: new Date(services.membership.nowMs()).toISOString(),
      sha256: createHash('sha256').update(text).digest('hex'),
      state: text,
    };
  });
}

/** Who leads a portal group. */
function moveRoute(app: FastifyInstance, context: ApiContext): void {
  const { cluster, services } = context;
  serveRoute(app, routes.movePortalGroup, async ({ params, body, http }) => {
    const state = await cluster.linearizableState();
    const group = findGroup(state, params.id);
    checkStays(state, group, body.to);
    const remembered =
      versionOf(state) < 2
        ? {}
        : { atMs: services.membership.nowMs(), why: `asked for by ${callerOf(context, http)}` };
    const at = { group: group.id, epoch: group.epoch };
    await propose(cluster, { type: 'moveGroup', ...at, to: body.to, ...remembered });
    const moved = cluster.state().portalGroups[params.id] ?? group;
    return { id: moved.id, primary: moved.primary ?? null, epoch: moved.epoch };
  });
}

/** What is moved to a node that is being drained is moved away at once by the leader. @throws ApiError "node-leaving" */
function checkStays({ nodes }: ClusterState, { inSync, primary }: PortalGroupRecord, to: NodeId): void {
  const others = inSync.filter((m) => isThere(nodes, m) && !isLeaving(nodes, m.nodeId));
  if (!isLeaving(nodes, to) || others.length === 0) return;
  const { replacedBy } = nodes[to] as NodeRecord;
  const how = replacedBy === undefined ? 'drained' : `replaced by ${replacedBy}`;
  throw new ApiError('node-leaving', `node ${to} is being ${how}: what it led would be moved away at once`, {
    got: to,
    accepted: [
      ...others.map((m) => m.nodeId).filter((id) => id !== primary),
      `${to} after "bootfabric node undrain ${to}"`,
    ].join(', or '),
  });
}

/** Whose word a change is by; admission has found the token to be good. */
function callerOf({ cluster }: ApiContext, http: FastifyRequest): string {
  return checkToken(http.headers.authorization, cluster.state().tokens).id;
}

/** @param state default: as this node has it */
export function nodeList(cluster: ClusterView, state: ClusterState = cluster.state()): NodeListDocument {
  return {
    nodes: Object.values(state.nodes).map((node) => nodeDocument(state, node)),
    removed: Object.values(state.removedNodes).map(({ nodeId, removedAtMs }) => ({
      nodeId,
      removedAt: new Date(removedAtMs).toISOString(),
      votes: !cluster.hasLeft(nodeId),
    })),
    joinTokens: Object.values(state.joinTokens).map(({ id, expiresAtMs, usedBy }) => ({
      id,
      expiresAt: new Date(expiresAtMs).toISOString(),
      usedBy: usedBy?.nodeId ?? null,
    })),
    audit: state.audit.map(({ atMs, event, detail }) => ({
      at: new Date(atMs).toISOString(),
      event,
      detail,
    })),
  };
}

function nodeDocument(state: ClusterState, node: NodeRecord): NodeDocument {
  const groups = Object.values(state.portalGroups);
  return {
    nodeId: node.nodeId,
    address: node.endpoints.api,
    status: node.status,
    draining: node.draining === true,
    replacedBy: node.replacedBy ?? null,
    weight: weightOf(node),
    rack: rackOf(node) ?? null,
    leads: groups.filter((g) => g.primary === node.nodeId).map((g) => g.id),
    replicas: groups.filter((g) => g.replicas.includes(node.nodeId)).map((g) => g.id),
    obstacles: obstaclesToRemoval(state, node.nodeId).map((o) => o.reason),
  };
}
