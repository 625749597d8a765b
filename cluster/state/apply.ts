import { setClientChap, setClientSources, settleClientChap } from './client-access.ts';
import { addClient, removeClient, setClientMultipath } from './clients.ts';
import { checkShape } from './command-shape.ts';
import type { Command } from './commands.ts';
import { changeContents } from './contents.ts';
import { identifyDisk, startGroupFrom } from './disks.ts';
import { removeImageVersion } from './image-removal.ts';
import {
  addNode,
  createJoinToken,
  drainNode,
  removeNode,
  replaceNode,
  revokeJoinToken,
  undrainNode,
} from './membership.ts';
import type { ClusterState } from './model.ts';
import { changeInSync, fenceNode, registerNode } from './nodes.ts';
import { type Outcome, refused } from './outcome.ts';
import { addReplica, dropReplica, moveGroup } from './placement.ts';
import { describeNode, setCluster, setNode, setPortalGroup } from './policies.ts';
import { addPortalGroup, removePortalGroup } from './portal-groups.ts';

export type { Outcome } from './outcome.ts';

/**
 * Applies one command: a pure function of its two arguments, the same on every node. It never throws on
 * any command; one that does not fit is refused, and the state returned is then the very object given.
 * Accepted commands answer with: registerNode, fenceNode {nodeId, incarnation}; shrinkInSync, expandInSync, handOverGroup
 * {group, epoch}; addImageVersion, imageHeld, removeImageVersion {image, version}; addClient, removeClient, setClientChap,
 * settleClientChap, setClientSources, setClientMultipath the ClientRecord;
 * addBootFile, bootFileHeld {name, sha256}; removeBootFile {name}; createJoinToken {id, expiresAtMs}; revokeJoinToken {id}; addNode
 * {nodeId, raftId}; drainNode, undrainNode, removeNode {nodeId}; replaceNode {nodeId, replacement}; moveGroup,
 * addReplica, dropReplica, addPortalGroup {group, epoch}; removePortalGroup {group}; describeNode, setNode {nodeId}; setCluster {}; setPortalGroup {group}.
 */
export function apply(state: ClusterState, command: Command): Outcome {
  const malformed = checkShape(command);
  if (malformed !== undefined) return refused(state, malformed);
  switch (command.type) {
    case 'registerNode':
      return registerNode(state, command);
    case 'identifyDisk':
      return identifyDisk(state, command);
    case 'startGroupFrom':
      return startGroupFrom(state, command);
    case 'fenceNode':
      return fenceNode(state, command);
    case 'shrinkInSync':
    case 'expandInSync':
    case 'handOverGroup':
      return changeInSync(state, command);
    case 'addImageVersion':
    case 'imageHeld':
    case 'addBootFile':
    case 'removeBootFile':
    case 'bootFileHeld':
      return changeContents(state, command);
    case 'addClient':
      return addClient(state, command);
    case 'removeImageVersion':
      return removeImageVersion(state, command);
    case 'removeClient':
      return removeClient(state, command);
    case 'setClientChap':
      return setClientChap(state, command);
    case 'settleClientChap':
      return settleClientChap(state, command);
    case 'setClientSources':
      return setClientSources(state, command);
    case 'setClientMultipath':
      return setClientMultipath(state, command);
    case 'createJoinToken':
      return createJoinToken(state, command);
    case 'revokeJoinToken':
      return revokeJoinToken(state, command);
    case 'addNode':
      return addNode(state, command);
    case 'drainNode':
      return drainNode(state, command);
    case 'undrainNode':
      return undrainNode(state, command);
    case 'replaceNode':
      return replaceNode(state, command);
    case 'removeNode':
      return removeNode(state, command);
    case 'moveGroup':
      return moveGroup(state, command);
    case 'addReplica':
      return addReplica(state, command);
    case 'dropReplica':
      return dropReplica(state, command);
    case 'describeNode':
      return describeNode(state, command);
    case 'setNode':
      return setNode(state, command);
    case 'setCluster':
      return setCluster(state, command);
    case 'addPortalGroup':
      return addPortalGroup(state, command);
    case 'removePortalGroup':
      return removePortalGroup(state, command);
    case 'setPortalGroup':
      return setPortalGroup(state, command);
  }
}
