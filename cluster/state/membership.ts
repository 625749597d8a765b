import { withAudit } from './audit.ts';
import { ENDPOINT_NAMES } from './command-shape.ts';
import type { Command, CommandRefusal } from './commands.ts';
import { MAX_JOIN_TOKEN_MS, MAX_JOIN_TOKENS, MAX_NODES, MAX_REMOVED_NODES } from './limits.ts';
import type { ClusterState, JoinTokenRecord, NodeEndpoints, NodeId, NodeRecord } from './model.ts';
import { checkName, checkSha256, lookup, namesOf } from './names.ts';
import { endpointsOfNode, hostOf, isLoopback, removedNode } from './node-addresses.ts';
import { unknownNode, withoutReplica } from './nodes.ts';
import { accepted, type Outcome, refused } from './outcome.ts';
import { changeGroups, isLeaving } from './primaries.ts';
import { obstaclesToRemoval } from './removal.ts';
import { ADDRESSES_VERSION, versionOf, withRaisedVersion } from './versions.ts';

/** How nodes come and go. Raft's own members follow this list; see ../membership-plan.ts. */

type OfType<T extends Command['type']> = Extract<Command, { type: T }>;

export function createJoinToken(state: ClusterState, command: OfType<'createJoinToken'>): Outcome {
  const { id, secretSha256, expiresAtMs, atMs, by } = command;
  const refusal =
    checkName('a join token', id) ??
    checkSha256('the secret', secretSha256) ??
    checkLifetime(expiresAtMs - atMs);
  if (refusal !== undefined) return refused(state, refusal);
  // One that has been used is kept until it expires, for a request that is sent again.
  const valid = Object.values(state.joinTokens).filter((t) => t.expiresAtMs > atMs);
  if (valid.some((t) => t.id === id || t.secretSha256 === secretSha256)) {
    const message = `there is a join token "${id}" already`;
    return refused(state, conflict('token-exists', message, id, 'another token'));
  }
  if (valid.length >= MAX_JOIN_TOKENS) {
    const message = `there are ${valid.length} join tokens already`;
    return refused(state, conflict('too-many-tokens', message, valid.length, `at most ${MAX_JOIN_TOKENS}`));
  }
  const token: JoinTokenRecord = { id, secretSha256, expiresAtMs };
  const joinTokens = Object.fromEntries([...valid, token].map((t) => [t.id, t]));
  const next = withAudit({ ...state, joinTokens }, atMs, 'join-token-created', `${id}, by ${by}`);
  return accepted(next, { id, expiresAtMs });
}

function checkLifetime(lifetimeMs: number): CommandRefusal | undefined {
  if (lifetimeMs > 0 && lifetimeMs <= MAX_JOIN_TOKEN_MS) return undefined;
  return {
    kind: 'invalid',
    code: 'bad-lifetime',
    message: `a join token cannot be good for ${lifetimeMs} ms`,
    got: lifetimeMs,
    accepted: `1 to ${MAX_JOIN_TOKEN_MS} ms`,
  };
}

export function revokeJoinToken(state: ClusterState, command: OfType<'revokeJoinToken'>): Outcome {
  const { id, atMs, by } = command;
  if (lookup(state.joinTokens, id) === undefined) {
    return refused(state, {
      kind: 'not-found',
      code: 'unknown-join-token',
      message: `there is no join token "${id}"`,
      got: id,
      accepted: namesOf(state.joinTokens),
    });
  }
  const { [id]: _, ...joinTokens } = state.joinTokens;
  return accepted(withAudit({ ...state, joinTokens }, atMs, 'join-token-revoked', `${id}, by ${by}`), { id });
}

/** The token is used up by the same entry that lets the node in, so no two nodes can come in by it. */
export function addNode(state: ClusterState, command: OfType<'addNode'>): Outcome {
  const { nodeId, endpoints, secretSha256, keySha256, atMs } = command;
  const token = Object.values(state.joinTokens).find((t) => t.secretSha256 === secretSha256);
  if (token === undefined) return refused(state, badToken('bad-join-token', 'is not one of this cluster'));
  const existing = lookup(state.nodes, nodeId);
  if (token.usedBy !== undefined) {
    const same = token.usedBy.nodeId === nodeId && token.usedBy.keySha256 === keySha256;
    if (same && existing !== undefined) return joined(state, existing);
    return refused(state, badToken('join-token-used', `was used by node ${token.usedBy.nodeId}`));
  }
  if (token.expiresAtMs <= atMs) return refused(state, badToken('join-token-expired', 'has expired'));
  const refusal =
    checkName('a node', nodeId) ??
    checkSha256('the public key', keySha256) ??
    checkNewId(state, nodeId) ??
    checkRoom(state) ??
    checkEndpoints(state, endpoints);
  if (refusal !== undefined) return refused(state, refusal);
  const node: NodeRecord = { nodeId, raftId: state.nextRaftId, incarnation: '', status: 'new', endpoints };
  const used = { ...token, usedBy: { nodeId, keySha256 } };
  const next: ClusterState = {
    ...state,
    nodes: { ...state.nodes, [nodeId]: node },
    nextRaftId: state.nextRaftId + 1,
    joinTokens: { ...state.joinTokens, [token.id]: used },
  };
  return joined(withAudit(next, atMs, 'node-added', `${nodeId}, by join token ${token.id}`), node);
}

function joined(state: ClusterState, { nodeId, raftId }: NodeRecord): Outcome {
  return accepted(state, { nodeId, raftId });
}

function badToken(code: string, what: string): CommandRefusal {
  const accepted = 'a join token that nobody has used: "bootfabric node token"';
  return { kind: 'conflict', code, message: `the join token ${what}`, accepted };
}

function checkNewId(state: ClusterState, nodeId: NodeId): CommandRefusal | undefined {
  const accepted = 'an id that no node of this cluster has ever had';
  if (lookup(state.nodes, nodeId) !== undefined) {
    return conflict('node-exists', `the cluster has a node "${nodeId}" already`, nodeId, accepted);
  }
  if (lookup(state.removedNodes, nodeId) !== undefined) {
    return conflict('node-id-used', `a node "${nodeId}" was removed from the cluster`, nodeId, accepted);
  }
  return undefined;
}

function checkRoom(state: ClusterState): CommandRefusal | undefined {
  const count = Object.keys(state.nodes).length;
  if (count >= MAX_NODES) {
    return conflict('too-many-nodes', `the cluster has ${count} nodes`, count, `at most ${MAX_NODES}`);
  }
  const gone = Object.keys(state.removedNodes).length;
  if (gone < MAX_REMOVED_NODES) return undefined;
  const accepted = `at most ${MAX_REMOVED_NODES}; a new cluster can be made of a backup`;
  return conflict('too-many-removed', `${gone} nodes have left this cluster`, gone, accepted);
}

function checkEndpoints(state: ClusterState, endpoints: NodeEndpoints): CommandRefusal | undefined {
  for (const node of Object.values(state.nodes)) {
    const name = ENDPOINT_NAMES.find((n) => node.endpoints[n] === endpoints[n]);
    if (name === undefined) continue;
    const message = `node ${node.nodeId} has its ${name} service at ${endpoints[name]}`;
    return conflict('endpoint-taken', message, endpoints[name], 'addresses that no other node has');
  }
  return versionOf(state) < ADDRESSES_VERSION ? undefined : checkAgainstPortals(state, endpoints);
}

/** A portal's address is on whichever host serves it. */
function checkAgainstPortals(
  { portalGroups }: ClusterState,
  endpoints: NodeEndpoints,
): CommandRefusal | undefined {
  for (const { id, address, port } of Object.values(portalGroups)) {
    const all = endpointsOfNode({ endpoints });
    const own = all.find((endpoint) =>
      isLoopback(address) ? endpoint === `${address}:${port}` : hostOf(endpoint) === address,
    );
    if (own === undefined) continue;
    const message = `${address} is the address of portal group ${id}, which moves`;
    return conflict('endpoint-is-portal', message, own, 'an address that no portal group has');
  }
  return undefined;
}

export function drainNode(state: ClusterState, command: OfType<'drainNode'>): Outcome {
  const { nodeId, atMs, by } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) return unknownNode(state, nodeId);
  if (node.draining === true) return accepted(state, { nodeId });
  const stay = Object.keys(state.nodes).filter((id) => id !== nodeId && !isLeaving(state.nodes, id));
  if (stay.length === 0) {
    const message = `every other node is being drained, so nothing could move away from ${nodeId}`;
    return refused(state, conflict('nowhere-to-go', message, nodeId, 'one node at least that stays'));
  }
  const next = withNode(state, { ...node, draining: true });
  return accepted(withAudit(next, atMs, 'node-draining', `${nodeId}, by ${by}`), { nodeId });
}

/** Also calls a replacement off, as far as it has not been carried out. */
export function undrainNode(state: ClusterState, command: OfType<'undrainNode'>): Outcome {
  const { nodeId, atMs, by } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) return unknownNode(state, nodeId);
  if (node.draining === undefined) return accepted(state, { nodeId });
  const { draining: _d, replacedBy: _r, ...rest } = node;
  return accepted(withAudit(withNode(state, rest), atMs, 'node-undrained', `${nodeId}, by ${by}`), {
    nodeId,
  });
}

export function replaceNode(state: ClusterState, command: OfType<'replaceNode'>): Outcome {
  const { nodeId, replacement, atMs, by } = command;
  const node = lookup(state.nodes, nodeId);
  const other = lookup(state.nodes, replacement);
  if (node === undefined) return unknownNode(state, nodeId);
  if (other === undefined) return unknownNode(state, replacement);
  if (nodeId === replacement || isLeaving(state.nodes, replacement)) {
    const message = `node ${replacement} cannot take the place of node ${nodeId}`;
    return refused(state, conflict('bad-replacement', message, replacement, 'another node that stays'));
  }
  const next = withNode(state, { ...node, draining: true, replacedBy: replacement });
  const detail = `${nodeId} by ${replacement}, by ${by}`;
  return accepted(withAudit(next, atMs, 'node-replacing', detail), { nodeId, replacement });
}

/** Told twice it answers alike, so that a request of unknown outcome can be sent again. */
export function removeNode(state: ClusterState, command: OfType<'removeNode'>): Outcome {
  const { nodeId, atMs, by } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) {
    if (lookup(state.removedNodes, nodeId) !== undefined) return accepted(state, { nodeId });
    return unknownNode(state, nodeId);
  }
  const [obstacle] = obstaclesToRemoval(state, nodeId);
  if (obstacle !== undefined) {
    return refused(state, {
      kind: 'conflict',
      code: obstacle.code,
      message: `node ${nodeId} cannot be removed: ${obstacle.reason}`,
      got: nodeId,
      accepted: 'a node that has been drained, or one that is down and that nothing depends on',
    });
  }
  const removed = removedNode(state, node, atMs);
  const { [nodeId]: _, ...nodes } = state.nodes;
  const rest = changeGroups({ ...state, nodes }, (group, groups) =>
    withoutReplica(group, groups, nodes, nodeId),
  );
  const next = withoutHolder({ ...rest, removedNodes: { ...state.removedNodes, [nodeId]: removed } }, nodeId);
  return accepted(withRaisedVersion(withAudit(next, atMs, 'node-removed', `${nodeId}, by ${by}`)), {
    nodeId,
  });
}

/** Nobody can fetch anything from a node that has left. */
export function withoutHolder(state: ClusterState, nodeId: NodeId): ClusterState {
  const without = <T extends { readonly holders: readonly NodeId[] }>(held: T): T =>
    held.holders.includes(nodeId) ? { ...held, holders: held.holders.filter((id) => id !== nodeId) } : held;
  const images = Object.entries(state.images).map(([name, image]) => [
    name,
    { ...image, versions: image.versions.map(without) },
  ]);
  const bootFiles = Object.entries(state.bootFiles).map(([name, file]) => [name, without(file)]);
  return {
    ...state,
    images: Object.fromEntries(images) as ClusterState['images'],
    bootFiles: Object.fromEntries(bootFiles) as ClusterState['bootFiles'],
  };
}

function withNode(state: ClusterState, node: NodeRecord): ClusterState {
  return { ...state, nodes: { ...state.nodes, [node.nodeId]: node } };
}

function conflict(code: string, message: string, got: unknown, accepted: string): CommandRefusal {
  return { kind: 'conflict', code, message, got, accepted };
}
