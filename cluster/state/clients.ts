import { ipv4FromNumber } from '../../base/ipv4.ts';
import { checkCredentials, checkSources, unknownClient } from './client-access.ts';
import type { Command, CommandRefusal } from './commands.ts';
import { MAX_CLIENTS, MAX_ISCSI_NAME_BYTES, MAX_MACS_PER_CLIENT } from './limits.ts';
import type { ClientRecord, ClusterState, ImageVersionRecord, PortalGroupRecord } from './model.ts';
import { checkMac, checkName, compareText, ipv4Number, lookup, namesOf } from './names.ts';
import { accepted, type Outcome, refusalOfGroup, refused } from './outcome.ts';
import { isUp } from './primaries.ts';

type AddClient = Extract<Command, { type: 'addClient' }>;
/** A value, or why there is none. */
type Found<T> = { readonly found: T } | { readonly refusal: CommandRefusal };

/** Registers a machine: its place, its LUN number and its iSCSI names are decided here, once. */
export function addClient(state: ClusterState, command: AddClient): Outcome {
  const refusal =
    checkName('a client', command.name) ??
    checkNotTaken(state, command.name) ??
    checkMacs(state, command.macs) ??
    checkIscsiName(state, command.name) ??
    (command.chap === undefined ? undefined : checkCredentials(command.chap)) ??
    checkSources(command.sources ?? []);
  if (refusal !== undefined) return refused(state, refusal);
  const version = findVersion(state, command);
  if ('refusal' in version) return refused(state, version.refusal);
  const group = findGroup(state, command);
  if ('refusal' in group) return refused(state, group.refusal);
  const notHeld = checkHeld(state, command.image, version.found, group.found);
  if (notHeld !== undefined) return refused(state, notHeld);
  const address = findAddress(state, command);
  if ('refusal' in address) return refused(state, address.refusal);
  const client: ClientRecord = {
    name: command.name,
    macs: [...command.macs],
    image: command.image,
    ...(command.imageVersion === undefined ? {} : { imageVersion: command.imageVersion }),
    writeCache: command.writeCache,
    portalGroup: group.found.id,
    lunId: state.nextLunId,
    ...(address.found === undefined ? {} : { address: address.found }),
    targetName: `${state.settings.iqnPrefix}:client-${command.name}`,
    initiatorName: `${state.settings.iqnPrefix}:initiator-${command.name}`,
    ...(command.chap === undefined ? {} : { chap: { current: command.chap } }),
    ...(command.sources === undefined || command.sources.length === 0
      ? {}
      : { sources: [...command.sources] }),
    ...(command.multipath === true ? { multipath: true } : {}),
  };
  const clients = { ...state.clients, [client.name]: client };
  return accepted({ ...state, clients, nextLunId: state.nextLunId + 1 }, client);
}

/** Sessions that it has at other portals than its group's end where it is turned off. */
export function setClientMultipath(
  state: ClusterState,
  command: Extract<Command, { type: 'setClientMultipath' }>,
): Outcome {
  const before = lookup(state.clients, command.name);
  if (before === undefined) return refused(state, unknownClient(command.name));
  const { multipath: _, ...rest } = before;
  const client: ClientRecord = command.enabled ? { ...rest, multipath: true } : rest;
  return accepted({ ...state, clients: { ...state.clients, [client.name]: client } }, client);
}

export function removeClient(
  state: ClusterState,
  command: Extract<Command, { type: 'removeClient' }>,
): Outcome {
  const client = lookup(state.clients, command.name);
  if (client === undefined) return refused(state, unknownClient(command.name));
  const { [client.name]: _, ...clients } = state.clients;
  return accepted({ ...state, clients }, client);
}

function checkNotTaken(state: ClusterState, name: string): CommandRefusal | undefined {
  if (lookup(state.clients, name) !== undefined) {
    return {
      kind: 'conflict',
      code: 'client-exists',
      message: `there is a client "${name}" already`,
      got: name,
      accepted: 'a name no client has',
    };
  }
  if (Object.keys(state.clients).length >= MAX_CLIENTS) {
    return {
      kind: 'conflict',
      code: 'too-many-clients',
      message: `the cluster has ${MAX_CLIENTS} clients already`,
      got: name,
      accepted: `at most ${MAX_CLIENTS} clients`,
    };
  }
  return undefined;
}

function checkMacs(state: ClusterState, macs: readonly string[]): CommandRefusal | undefined {
  if (macs.length === 0 || macs.length > MAX_MACS_PER_CLIENT) {
    return {
      kind: 'invalid',
      code: 'bad-mac-count',
      message: `a client cannot have ${macs.length} MAC addresses`,
      got: macs.length,
      accepted: `1 to ${MAX_MACS_PER_CLIENT}`,
    };
  }
  for (const mac of macs) {
    const refusal = checkMac(mac);
    if (refusal !== undefined) return refusal;
  }
  const twice = macs.find((mac, i) => macs.indexOf(mac) !== i);
  if (twice !== undefined) {
    return { kind: 'invalid', code: 'mac-twice', message: `MAC address ${twice} is given twice`, got: twice };
  }
  for (const client of Object.values(state.clients)) {
    const taken = macs.find((mac) => client.macs.includes(mac));
    if (taken === undefined) continue;
    return {
      kind: 'conflict',
      code: 'mac-taken',
      message: `MAC address ${taken} belongs to client "${client.name}"`,
      got: taken,
      accepted: 'a MAC address no client has',
    };
  }
  return undefined;
}

function checkIscsiName(state: ClusterState, name: string): CommandRefusal | undefined {
  const longest = `${state.settings.iqnPrefix}:initiator-${name}`;
  if (longest.length <= MAX_ISCSI_NAME_BYTES) return undefined;
  return {
    kind: 'invalid',
    code: 'name-too-long',
    message: `with the prefix of this cluster, "${name}" makes an iSCSI name of ${longest.length} bytes`,
    got: longest.length,
    accepted: `at most ${MAX_ISCSI_NAME_BYTES}`,
  };
}

function findVersion(state: ClusterState, command: AddClient): Found<ImageVersionRecord> {
  const image = lookup(state.images, command.image);
  if (image === undefined) {
    return {
      refusal: {
        kind: 'not-found',
        code: 'unknown-image',
        message: `there is no image "${command.image}"`,
        got: command.image,
        accepted: bootableImages(state),
      },
    };
  }
  const version =
    command.imageVersion === undefined
      ? image.versions.at(-1)
      : image.versions.find((v) => v.version === command.imageVersion);
  if (version !== undefined) return { found: version };
  return {
    refusal: {
      kind: 'not-found',
      code: 'unknown-image-version',
      message: `image ${image.name} has no version ${command.imageVersion ?? 'any more'}`,
      got: command.imageVersion ?? image.name,
      accepted: image.versions.map((v) => v.version).join(', ') || bootableImages(state),
    },
  };
}

/** The names of images that have a version: one whose versions were all removed is remembered for its numbers only. */
function bootableImages({ images }: ClusterState): string {
  const withVersions = Object.entries(images).filter(([, image]) => image.versions.length > 0);
  return namesOf(Object.fromEntries(withVersions)) || 'no image has a version; import one first';
}

function findGroup(state: ClusterState, command: AddClient): Found<PortalGroupRecord> {
  if (command.portalGroup !== undefined) {
    const group = lookup(state.portalGroups, command.portalGroup);
    if (group !== undefined) return { found: group };
    return { refusal: refusalOfGroup(state, command.portalGroup) };
  }
  const counts = new Map<string, number>();
  for (const { portalGroup } of Object.values(state.clients)) {
    counts.set(portalGroup, (counts.get(portalGroup) ?? 0) + 1);
  }
  const emptiest = Object.values(state.portalGroups).sort(
    (a, b) => (counts.get(a.id) ?? 0) - (counts.get(b.id) ?? 0) || compareText(a.id, b.id),
  )[0];
  if (emptiest !== undefined) return { found: emptiest };
  return {
    refusal: {
      kind: 'conflict',
      code: 'no-portal-group',
      message: 'the cluster has no portal group to put a client in',
    },
  };
}

/** Any replica that is up may become primary at any moment and must then be able to read the image. */
function checkHeld(
  state: ClusterState,
  image: string,
  version: ImageVersionRecord,
  group: PortalGroupRecord,
): CommandRefusal | undefined {
  const needed = group.replicas.filter((id) => isUp(state.nodes, id));
  const holding = needed.filter((id) => version.holders.includes(id));
  if (holding.length === needed.length && needed.length > 0) return undefined;
  const missing = needed.filter((id) => !version.holders.includes(id));
  return {
    kind: 'conflict',
    code: 'image-not-held',
    message:
      needed.length === 0
        ? `no replica of portal group ${group.id} is up`
        : `${holding.length} of ${needed.length} nodes of portal group ${group.id} hold version ` +
          `${version.version} of image ${image}; ${missing.join(' and ')} still fetching it`,
    got: holding.length,
    accepted: `all ${needed.length}; try again when every one holds it`,
  };
}

function findAddress(state: ClusterState, command: AddClient): Found<string | undefined> {
  const { dhcp } = state.settings;
  if (dhcp.mode !== 'full') {
    if (command.address === undefined) return { found: undefined };
    return {
      refusal: {
        kind: 'invalid',
        code: 'no-addresses-served',
        message: 'this cluster hands out no addresses, so it can reserve none',
        got: command.address,
        accepted: 'no address, or DHCP mode "full"',
      },
    };
  }
  const start = ipv4Number(dhcp.rangeStart ?? '');
  const end = ipv4Number(dhcp.rangeEnd ?? '');
  if (start === undefined || end === undefined) {
    return {
      refusal: {
        kind: 'conflict',
        code: 'no-address-range',
        message: 'the cluster has no range of addresses to give clients one from',
      },
    };
  }
  const taken = takenAddresses(state);
  if (command.address !== undefined) return checkAddress(command.address, start, end, taken);
  for (let n = start; n <= end; n++) {
    const address = ipv4FromNumber(n);
    if (!taken.has(address)) return { found: address };
  }
  return {
    refusal: {
      kind: 'conflict',
      code: 'address-range-full',
      message: `every address from ${dhcp.rangeStart} to ${dhcp.rangeEnd} is taken`,
      got: taken.size,
      accepted: 'a client fewer, or a larger range',
    },
  };
}

function checkAddress(
  address: string,
  start: number,
  end: number,
  taken: ReadonlyMap<string, string>,
): Found<string> {
  const n = ipv4Number(address);
  if (n === undefined || n < start || n > end) {
    return {
      refusal: {
        kind: 'invalid',
        code: 'address-out-of-range',
        message: `"${address}" is not an address of the range this cluster hands out`,
        got: address,
        accepted: `${ipv4FromNumber(start)} to ${ipv4FromNumber(end)}`,
      },
    };
  }
  const owner = taken.get(address);
  if (owner === undefined) return { found: address };
  return {
    refusal: {
      kind: 'conflict',
      code: 'address-taken',
      message: `address ${address} belongs to ${owner}`,
      got: address,
      accepted: 'an address that is free',
    },
  };
}

/** Addresses in use, each with its owner in words. */
function takenAddresses(state: ClusterState): Map<string, string> {
  const taken = new Map<string, string>();
  for (const client of Object.values(state.clients)) {
    if (client.address !== undefined) taken.set(client.address, `client "${client.name}"`);
  }
  for (const group of Object.values(state.portalGroups)) {
    taken.set(group.address, `portal group "${group.id}"`);
  }
  for (const node of Object.values(state.nodes)) {
    for (const endpoint of Object.values(node.endpoints) as string[]) {
      taken.set(endpoint.slice(0, endpoint.lastIndexOf(':')), `node "${node.nodeId}"`);
    }
  }
  const { router } = state.settings.dhcp;
  if (router !== undefined) taken.set(router, 'the router');
  return taken;
}
