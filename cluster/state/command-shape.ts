import type { Command, CommandRefusal } from './commands.ts';
import {
  MAX_DATA_PLANE_WORKERS,
  MAX_DIRECTORY_LIVES,
  MAX_RETIRED_COPIES,
  MAX_TEXT_LENGTH,
} from './limits.ts';

/**
 * Commands come out of a log or off a wire as untyped data. Every field is checked before any is used, so
 * that a malformed one is refused alike on every node and can crash none.
 */

type Kind =
  | 'text'
  | 'optionalText'
  | 'texts'
  | 'count'
  | 'optionalCount'
  | 'endpoints'
  | 'optionalDisks'
  | 'optionalRetired'
  | 'optionalWorkers'
  | 'optionalLife'
  | 'optionalLives'
  | 'writeCache'
  | 'optionalSwitch'
  | 'optionalDurability'
  | 'flag'
  | 'optionalFlag'
  | 'optionalTexts'
  | 'credentialsOrNull'
  | 'optionalCredentials';

const SHAPES: { readonly [T in Command['type']]: Readonly<Record<string, Kind>> } = {
  registerNode: {
    nodeId: 'text',
    incarnation: 'text',
    endpoints: 'endpoints',
    disks: 'optionalDisks',
    boot: 'optionalText',
    retired: 'optionalRetired',
    stateVersion: 'optionalCount',
    workers: 'optionalWorkers',
    lives: 'optionalLives',
  },
  identifyDisk: { nodeId: 'text', incarnation: 'text', group: 'text', disk: 'text', life: 'optionalLife' },
  startGroupFrom: { group: 'text', epoch: 'count', nodeId: 'text', atMs: 'count', by: 'text' },
  fenceNode: { nodeId: 'text', incarnation: 'text', reason: 'text' },
  shrinkInSync: { group: 'text', epoch: 'count', primary: 'text', remove: 'text' },
  expandInSync: { group: 'text', epoch: 'count', primary: 'text', add: 'text', incarnation: 'text' },
  handOverGroup: { group: 'text', epoch: 'count', primary: 'text' },
  addImageVersion: {
    image: 'text',
    sizeBytes: 'count',
    chunkSizeBytes: 'count',
    manifestSha256: 'text',
    holder: 'text',
    atMs: 'count',
  },
  imageHeld: { image: 'text', version: 'count', holder: 'text' },
  addClient: {
    name: 'text',
    macs: 'texts',
    image: 'text',
    imageVersion: 'optionalCount',
    writeCache: 'writeCache',
    address: 'optionalText',
    portalGroup: 'optionalText',
    chap: 'optionalCredentials',
    sources: 'optionalTexts',
    multipath: 'optionalFlag',
  },
  removeClient: { name: 'text' },
  setClientChap: { name: 'text', credentials: 'credentialsOrNull', revoke: 'flag' },
  settleClientChap: { name: 'text' },
  setClientSources: { name: 'text', sources: 'texts' },
  setClientMultipath: { name: 'text', enabled: 'flag' },
  addBootFile: { name: 'text', sizeBytes: 'count', sha256: 'text', holder: 'text' },
  removeImageVersion: {
    image: 'text',
    version: 'count',
    nextLunId: 'count',
    nodes: 'texts',
    atMs: 'count',
    by: 'text',
  },
  removeBootFile: { name: 'text', atMs: 'count', by: 'text' },
  bootFileHeld: { name: 'text', sha256: 'text', holder: 'text' },
  createJoinToken: { id: 'text', secretSha256: 'text', expiresAtMs: 'count', atMs: 'count', by: 'text' },
  revokeJoinToken: { id: 'text', atMs: 'count', by: 'text' },
  addNode: {
    nodeId: 'text',
    endpoints: 'endpoints',
    secretSha256: 'text',
    keySha256: 'text',
    atMs: 'count',
  },
  drainNode: { nodeId: 'text', atMs: 'count', by: 'text' },
  undrainNode: { nodeId: 'text', atMs: 'count', by: 'text' },
  replaceNode: { nodeId: 'text', replacement: 'text', atMs: 'count', by: 'text' },
  removeNode: { nodeId: 'text', atMs: 'count', by: 'text' },
  moveGroup: { group: 'text', epoch: 'count', to: 'text', atMs: 'optionalCount', why: 'optionalText' },
  addReplica: {
    group: 'text',
    epoch: 'count',
    add: 'text',
    insteadOf: 'optionalText',
    atMs: 'optionalCount',
    why: 'optionalText',
  },
  dropReplica: { group: 'text', epoch: 'count', drop: 'text', atMs: 'optionalCount', why: 'optionalText' },
  describeNode: { nodeId: 'text', incarnation: 'text', weight: 'optionalCount', rack: 'optionalText' },
  setNode: {
    nodeId: 'text',
    weight: 'optionalCount',
    rack: 'optionalText',
    clear: 'texts',
    atMs: 'count',
    by: 'text',
  },
  setCluster: {
    replicasPerGroup: 'optionalCount',
    rebalance: 'optionalSwitch',
    rebalanceDelayMs: 'optionalCount',
    replaceAfterMs: 'optionalCount',
    catchUpBytesPerSecond: 'optionalCount',
    atMs: 'count',
    by: 'text',
  },
  addPortalGroup: {
    group: 'text',
    address: 'text',
    port: 'count',
    replicas: 'optionalTexts',
    ofFormerNode: 'optionalFlag',
    atMs: 'count',
    by: 'text',
  },
  removePortalGroup: { group: 'text', atMs: 'count', by: 'text' },
  setPortalGroup: {
    group: 'text',
    minInSync: 'optionalCount',
    durability: 'optionalDurability',
    atMs: 'count',
    by: 'text',
  },
};

const ACCEPTED: Readonly<Record<Kind, string>> = {
  text: `text of at most ${MAX_TEXT_LENGTH} characters`,
  optionalText: `text of at most ${MAX_TEXT_LENGTH} characters, or nothing`,
  texts: 'a list of texts',
  count: 'a whole number from 0 on',
  optionalCount: 'a whole number from 0 on, or nothing',
  optionalDisks: 'a text for each portal group, or nothing',
  optionalRetired: `the texts disk and processes and the number epoch for each of at most ${MAX_RETIRED_COPIES} copies of each portal group, or nothing`,
  optionalWorkers: `the texts replication and iscsi for each of at most ${MAX_DATA_PLANE_WORKERS - 1} workers, or nothing`,
  optionalLife: `the text life and at most ${MAX_DIRECTORY_LIVES} texts former, or nothing`,
  optionalLives: `the text life and at most ${MAX_DIRECTORY_LIVES} texts former for each portal group, or nothing`,
  endpoints: 'the texts peer, replication, api, http, tftp and iscsi',
  writeCache: '"discard" or "keep"',
  optionalSwitch: '"on", "off" or nothing',
  optionalDurability: '"write-back", "durable" or nothing',
  flag: 'true or false',
  optionalFlag: 'true, false, or nothing',
  optionalTexts: 'a list of texts, or nothing',
  credentialsOrNull: 'the texts username and secret, optionally mutual with the same two, or null',
  optionalCredentials: 'the texts username and secret, optionally mutual with the same two, or nothing',
};

export const ENDPOINT_NAMES = ['peer', 'replication', 'api', 'http', 'tftp', 'iscsi'] as const;

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length <= MAX_TEXT_LENGTH;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function fits(kind: Kind, value: unknown): boolean {
  switch (kind) {
    case 'text':
      return isText(value);
    case 'optionalText':
      return value === undefined || isText(value);
    case 'texts':
      return Array.isArray(value) && value.every(isText);
    case 'count':
      return isCount(value);
    case 'optionalCount':
      return value === undefined || isCount(value);
    case 'optionalDisks':
      return value === undefined || (isObject(value) && Object.values(value).every(isText));
    case 'optionalRetired':
      return value === undefined || (isObject(value) && Object.values(value).every(areRetired));
    case 'optionalWorkers':
      return value === undefined || areWorkers(value);
    case 'optionalLife':
      return value === undefined || isLife(value);
    case 'optionalLives':
      return value === undefined || (isObject(value) && Object.values(value).every(isLife));
    case 'endpoints':
      return isObject(value) && ENDPOINT_NAMES.every((name) => isText(value[name]));
    case 'writeCache':
      return value === 'discard' || value === 'keep';
    case 'optionalSwitch':
      return value === undefined || value === 'on' || value === 'off';
    case 'optionalDurability':
      return value === undefined || value === 'write-back' || value === 'durable';
    case 'flag':
      return typeof value === 'boolean';
    case 'optionalFlag':
      return value === undefined || typeof value === 'boolean';
    case 'optionalTexts':
      return value === undefined || fits('texts', value);
    case 'credentialsOrNull':
      return value === null || isCredentials(value);
    case 'optionalCredentials':
      return value === undefined || isCredentials(value);
  }
}

function areWorkers(value: unknown): boolean {
  if (!Array.isArray(value) || value.length >= MAX_DATA_PLANE_WORKERS) return false;
  return value.every((one) => isObject(one) && isText(one['replication']) && isText(one['iscsi']));
}

function areRetired(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > MAX_RETIRED_COPIES) return false;
  return value.every(
    (one) =>
      isObject(one) &&
      isText(one['disk']) &&
      isCount(one['epoch']) &&
      fits('texts', one['processes']) &&
      fits('optionalTexts', one['lives']),
  );
}

function isLife(value: unknown): boolean {
  if (!isObject(value) || !isText(value['life']) || !fits('texts', value['former'])) return false;
  return (value['former'] as unknown[]).length <= MAX_DIRECTORY_LIVES;
}

function isCredentials(value: unknown): boolean {
  if (!isObject(value) || !isText(value['username']) || !isText(value['secret'])) return false;
  const { mutual } = value;
  return mutual === undefined || (isObject(mutual) && isText(mutual['username']) && isText(mutual['secret']));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The refusal of a command that is not one; undefined when every field has its type. */
export function checkShape(command: unknown): CommandRefusal | undefined {
  const type = isObject(command) ? command['type'] : undefined;
  if (!isObject(command) || typeof type !== 'string' || !Object.hasOwn(SHAPES, type)) {
    return {
      kind: 'invalid',
      code: 'unknown-command',
      message: `there is no command "${String(type)}"`,
      got: type,
      accepted: Object.keys(SHAPES).join(', '),
    };
  }
  for (const [field, kind] of Object.entries(SHAPES[type as Command['type']])) {
    if (fits(kind, command[field])) continue;
    return {
      kind: 'invalid',
      code: 'malformed-command',
      message: `${type}: the field ${field} is malformed`,
      // What is all but a secret is not repeated.
      ...(kind.endsWith('redentials') || kind === 'credentialsOrNull' ? {} : { got: command[field] }),
      accepted: ACCEPTED[kind],
    };
  }
  return undefined;
}
