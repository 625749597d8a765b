import type { Static, TObject, TSchema } from 'typebox';
import Type from 'typebox';
import {
  addedBootFileSchema,
  bootFileListSchema,
  bootFileParamsSchema,
  removedBootFileSchema,
} from './boot-files.ts';
import {
  chapChangedSchema,
  clientListSchema,
  clientParamsSchema,
  clientSchema,
  newChapSchema,
  newClientSchema,
  newMultipathSchema,
  newSourcesSchema,
} from './clients.ts';
import { groupStartedSchema, groupStartParamsSchema, groupStartSchema } from './group-start.ts';
import {
  imageListSchema,
  imageParamsSchema,
  imageVersionParamsSchema,
  imageVersionSchema,
  importedSchema,
  importQuerySchema,
  removedImageVersionSchema,
} from './images.ts';
import { API_PREFIX } from './limits.ts';
import { lunListSchema } from './luns.ts';
import {
  backupSchema,
  createdJoinTokenSchema,
  destinationSchema,
  joinTokenParamsSchema,
  movedGroupSchema,
  newJoinTokenSchema,
  nodeListSchema,
  nodeParamsSchema,
  portalGroupParamsSchema,
  replacementSchema,
} from './nodes.ts';
import { fillPath } from './peer-content.ts';
import {
  clusterSettingsSchema,
  groupPolicySchema,
  newClusterSettingsSchema,
  newGroupPolicySchema,
  nodePlacementSchema,
} from './policies.ts';
import { addedPortalGroupSchema, newPortalGroupSchema, removedPortalGroupSchema } from './portal-groups.ts';
import { integritySchema, nodeStatusSchema } from './status.ts';
import { readQuerySchema } from './values.ts';

/**
 * One route: what server, command line and OpenAPI know of it. Its path begins after API_PREFIX
 * and names parameters as ":name".
 */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly summary: string;
  readonly params?: TObject;
  readonly query?: TObject;
  /** A JSON body; "bytes" is an application/octet-stream. */
  readonly body?: TSchema | 'bytes';
  /** Status of success. */
  readonly status: 200 | 201;
  readonly response: TSchema;
}

type PartOf<R, K extends string> = R extends { readonly [key in K]: infer S extends TSchema }
  ? Static<S>
  : undefined;
export type RouteParams<R extends Route> = PartOf<R, 'params'>;
export type RouteQuery<R extends Route> = PartOf<R, 'query'>;
export type RouteBody<R extends Route> = PartOf<R, 'body'>;
export type RouteResponse<R extends Route> = Static<R['response']>;

const define = <const R extends Route>(route: R): R => route;

export const routes = {
  getStatus: define({
    method: 'GET',
    path: '/status',
    summary: 'How this node and its cluster are',
    status: 200,
    response: nodeStatusSchema,
  }),
  startScrub: define({
    method: 'POST',
    path: '/scrub',
    summary: 'Have this node read through all it keeps now, and mend what is damaged',
    status: 200,
    response: integritySchema,
  }),
  listImages: define({
    method: 'GET',
    path: '/images',
    summary: 'All images and their versions',
    query: readQuerySchema,
    status: 200,
    response: imageListSchema,
  }),
  getImageVersion: define({
    method: 'GET',
    path: '/images/:name/versions/:version',
    summary: 'One version of an image, and which nodes hold it',
    params: imageVersionParamsSchema,
    query: readQuerySchema,
    status: 200,
    response: imageVersionSchema,
  }),
  importImage: define({
    method: 'PUT',
    path: '/images/:name/versions',
    summary: 'Give an image its next version: the raw bytes of a disk',
    params: imageParamsSchema,
    query: importQuerySchema,
    body: 'bytes',
    status: 201,
    response: importedSchema,
  }),
  removeImageVersion: define({
    method: 'DELETE',
    path: '/images/:name/versions/:version',
    summary: 'Remove a version of an image that no client boots and no disk is over',
    params: imageVersionParamsSchema,
    status: 200,
    response: removedImageVersionSchema,
  }),
  listClients: define({
    method: 'GET',
    path: '/clients',
    summary: 'All clients',
    query: readQuerySchema,
    status: 200,
    response: clientListSchema,
  }),
  getClient: define({
    method: 'GET',
    path: '/clients/:name',
    summary: 'One client',
    params: clientParamsSchema,
    query: readQuerySchema,
    status: 200,
    response: clientSchema,
  }),
  addClient: define({
    method: 'POST',
    path: '/clients',
    summary: 'Register a machine by its MAC addresses and give it a disk',
    body: newClientSchema,
    status: 201,
    response: clientSchema,
  }),
  removeClient: define({
    method: 'DELETE',
    path: '/clients/:name',
    summary: 'Forget a machine, and drop its writes',
    params: clientParamsSchema,
    status: 200,
    response: clientSchema,
  }),
  setClientChap: define({
    method: 'PUT',
    path: '/clients/:name/chap',
    summary: 'Give a client new CHAP secrets, from its next boot on',
    params: clientParamsSchema,
    body: newChapSchema,
    status: 200,
    response: chapChangedSchema,
  }),
  setClientSources: define({
    method: 'PUT',
    path: '/clients/:name/sources',
    summary: 'Say from which addresses a client may attach its disk',
    params: clientParamsSchema,
    body: newSourcesSchema,
    status: 200,
    response: clientSchema,
  }),
  setClientMultipath: define({
    method: 'PUT',
    path: '/clients/:name/multipath',
    summary: 'Say whether a client finds its disk at several nodes at once',
    params: clientParamsSchema,
    body: newMultipathSchema,
    status: 200,
    response: clientSchema,
  }),
  listNodes: define({
    method: 'GET',
    path: '/nodes',
    summary: 'The nodes of the cluster, what each holds, and what was done to the membership',
    query: readQuerySchema,
    status: 200,
    response: nodeListSchema,
  }),
  createJoinToken: define({
    method: 'POST',
    path: '/join-tokens',
    summary: 'Make a token that lets one host join the cluster',
    body: newJoinTokenSchema,
    status: 201,
    response: createdJoinTokenSchema,
  }),
  revokeJoinToken: define({
    method: 'DELETE',
    path: '/join-tokens/:id',
    summary: 'Make a join token useless',
    params: joinTokenParamsSchema,
    status: 200,
    response: Type.Object({ id: Type.String() }),
  }),
  drainNode: define({
    method: 'PUT',
    path: '/nodes/:id/drain',
    summary: 'Move everything that a node leads away from it, and keep it away',
    params: nodeParamsSchema,
    status: 200,
    response: nodeListSchema,
  }),
  undrainNode: define({
    method: 'DELETE',
    path: '/nodes/:id/drain',
    summary: 'Let a node lead again',
    params: nodeParamsSchema,
    status: 200,
    response: nodeListSchema,
  }),
  replaceNode: define({
    method: 'PUT',
    path: '/nodes/:id/replacement',
    summary: 'Give everything that a node holds to another node, and then remove it',
    params: nodeParamsSchema,
    body: replacementSchema,
    status: 200,
    response: nodeListSchema,
  }),
  removeNode: define({
    method: 'DELETE',
    path: '/nodes/:id',
    summary: 'Remove a node from the cluster, for good',
    params: nodeParamsSchema,
    status: 200,
    response: nodeListSchema,
  }),
  addPortalGroup: define({
    method: 'POST',
    path: '/portal-groups',
    summary: 'Add a portal group, without clients',
    body: newPortalGroupSchema,
    status: 201,
    response: addedPortalGroupSchema,
  }),
  removePortalGroup: define({
    method: 'DELETE',
    path: '/portal-groups/:id',
    summary: 'Remove a portal group that no client has its disk in',
    params: portalGroupParamsSchema,
    status: 200,
    response: removedPortalGroupSchema,
  }),
  movePortalGroup: define({
    method: 'PUT',
    path: '/portal-groups/:id/primary',
    summary: 'Let another in-sync member lead a portal group',
    params: portalGroupParamsSchema,
    body: destinationSchema,
    status: 200,
    response: movedGroupSchema,
  }),
  setNodePlacement: define({
    method: 'PUT',
    path: '/nodes/:id/placement',
    summary: 'Say how much a node is to hold, and what fails together with it',
    params: nodeParamsSchema,
    body: nodePlacementSchema,
    status: 200,
    response: nodeListSchema,
  }),
  getClusterSettings: define({
    method: 'GET',
    path: '/cluster-settings',
    summary: 'Settings of the cluster as a whole',
    query: readQuerySchema,
    status: 200,
    response: clusterSettingsSchema,
  }),
  setClusterSettings: define({
    method: 'PUT',
    path: '/cluster-settings',
    summary: 'Change settings of the cluster; those not given stay',
    body: newClusterSettingsSchema,
    status: 200,
    response: clusterSettingsSchema,
  }),
  setGroupPolicy: define({
    method: 'PUT',
    path: '/portal-groups/:id/policy',
    summary: "Say what a portal group's writes need; what is not given stays",
    params: portalGroupParamsSchema,
    body: newGroupPolicySchema,
    status: 200,
    response: groupPolicySchema,
  }),
  getBackup: define({
    method: 'GET',
    path: '/backup',
    summary: 'The whole configuration, to be restored into a new cluster',
    status: 200,
    response: backupSchema,
  }),
  listLuns: define({
    method: 'GET',
    path: '/luns',
    summary: 'The disks of all clients, as this node knows them',
    status: 200,
    response: lunListSchema,
  }),
  startGroupFrom: define({
    method: 'POST',
    path: '/portal-groups/:id/start-from',
    summary: 'Let a portal group that nobody can serve go on from a lesser copy, losing writes',
    params: groupStartParamsSchema,
    body: groupStartSchema,
    status: 200,
    response: groupStartedSchema,
  }),
  listBootFiles: define({
    method: 'GET',
    path: '/boot-files',
    summary: 'Uploaded network boot programs',
    query: readQuerySchema,
    status: 200,
    response: bootFileListSchema,
  }),
  addBootFile: define({
    method: 'PUT',
    path: '/boot-files/:name',
    summary: 'Upload a network boot program, replacing one of that name',
    params: bootFileParamsSchema,
    body: 'bytes',
    status: 201,
    response: addedBootFileSchema,
  }),
  removeBootFile: define({
    method: 'DELETE',
    path: '/boot-files/:name',
    summary: 'Remove an uploaded network boot program that machines can do without',
    params: bootFileParamsSchema,
    status: 200,
    response: removedBootFileSchema,
  }),
  getOpenApi: define({
    method: 'GET',
    path: '/openapi.json',
    summary: 'This API, described in OpenAPI 3.1',
    status: 200,
    response: Type.Unknown({ description: 'an OpenAPI document' }),
  }),
} as const satisfies Readonly<Record<string, Route>>;

/** The path of a route with its parameters and query filled in, to go after "https://HOST:PORT". */
export function routePath(
  route: Route,
  params: Readonly<Record<string, unknown>> = {},
  query: Readonly<Record<string, unknown>> = {},
): string {
  const path = fillPath(route.path, params);
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const search = new URLSearchParams(
    given.map(([key, value]): [string, string] => [key, String(value)]),
  ).toString();
  return `${API_PREFIX}${path}${search === '' ? '' : `?${search}`}`;
}
