import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import Type, { type Static } from 'typebox';
import { parse as parseYaml, stringify as stringifyYaml, YAMLParseError } from 'yaml';
import { describeError, OperationError } from '../base/errors.ts';
import { type Ipv4, parseIpv4 } from '../base/ipv4.ts';
import { checkSchema } from '../base/schema-check.ts';
import { MAX_DATA_PLANE_WORKERS } from '../cluster/state/limits.ts';
import { MAX_QUEUE_DEPTH } from './iscsi/limits.ts';

/** The file of a node's own settings, in the directory given to `start --data`. */
export const CONFIG_FILE = 'bootfabric.yaml';

/** Cluster, node and image names; they appear in DNS names, file names and IQNs. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,31}$/;
export const NAME_ACCEPTED = 'lower-case letters, digits and hyphens, 1 to 32, not beginning with a hyphen';

export const WORKERS_ACCEPTED = `auto, or a whole number from 1 to ${MAX_DATA_PLANE_WORKERS}`;

const INTERFACE_PATTERN = '^[^\\s/]{1,15}$';
const INTERFACE_ACCEPTED = 'the name of a network interface, 1 to 15 characters, such as eth0';

export const PORT_NAMES = ['peer', 'replication', 'api', 'http', 'tftp', 'dhcp', 'pxe', 'iscsi'] as const;
export type PortName = (typeof PORT_NAMES)[number];

export const DEFAULT_PORTS: Readonly<Record<PortName, number>> = {
  peer: 7400,
  replication: 7401,
  api: 7443,
  http: 7480,
  tftp: 69,
  dhcp: 67,
  pxe: 4011,
  iscsi: 3260,
};

const port = Type.Integer({ minimum: 1, maximum: 65535, description: 'a port number, 1 to 65535' });
const path = Type.String({ minLength: 1, description: 'the path of a directory' });

const configSchema = Type.Object(
  {
    nodeId: Type.String({ pattern: NAME_PATTERN.source, description: NAME_ACCEPTED }),
    address: Type.String({ description: 'an IPv4 address of this node, such as 192.0.2.11' }),
    ports: Type.Object(
      {
        peer: port,
        replication: port,
        api: port,
        http: port,
        tftp: port,
        dhcp: port,
        pxe: port,
        iscsi: port,
      },
      { additionalProperties: false },
    ),
    portal: Type.Object(
      {
        interface: Type.Union([Type.String({ pattern: INTERFACE_PATTERN }), Type.Null()], {
          description: `${INTERFACE_ACCEPTED}, or null where portal addresses are in 127.0.0.0/8`,
        }),
        imageCacheMib: Type.Optional(
          Type.Integer({ minimum: 16, maximum: 1_048_576, description: 'a number of MiB, 16 to 1048576' }),
        ),
        queueDepth: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: MAX_QUEUE_DEPTH,
            description: `a number of commands, 1 to ${MAX_QUEUE_DEPTH}`,
          }),
        ),
      },
      { additionalProperties: false },
    ),
    dataPlane: Type.Optional(
      Type.Object(
        {
          workers: Type.Optional(
            Type.Union(
              [Type.Literal('auto'), Type.Integer({ minimum: 1, maximum: MAX_DATA_PLANE_WORKERS })],
              {
                description: WORKERS_ACCEPTED,
              },
            ),
          ),
          firstPort: Type.Optional(port),
        },
        { additionalProperties: false, description: 'a mapping with the keys workers and firstPort' },
      ),
    ),
    dhcp: Type.Object(
      {
        interfaces: Type.Array(Type.String({ pattern: INTERFACE_PATTERN, description: INTERFACE_ACCEPTED }), {
          maxItems: 16,
          description: 'a list of at most 16 interface names',
        }),
      },
      { additionalProperties: false },
    ),
    placement: Type.Optional(
      Type.Object(
        {
          weight: Type.Optional(
            Type.Integer({ minimum: 1, maximum: 1000, description: 'a whole number from 1 to 1000' }),
          ),
          rack: Type.Optional(
            Type.String({ pattern: NAME_PATTERN.source, description: `a name: ${NAME_ACCEPTED}` }),
          ),
        },
        { additionalProperties: false, description: 'a mapping with the keys weight and rack' },
      ),
    ),
    ipxeDir: path,
    dataDir: Type.Optional(path),
  },
  { additionalProperties: false, description: 'a mapping with the keys nodeId, address, ports, portal, …' },
);

type ConfigDocument = Static<typeof configSchema>;

/** One node's own settings; what the cluster agrees on is in ClusterState. */
export interface NodeConfig {
  readonly nodeId: string;
  /** Where this node listens and is reached by the others. */
  readonly address: Ipv4;
  readonly ports: Readonly<Record<PortName, number>>;
  /** Where movable portal addresses are put; null: they are on loopback and only bound. */
  readonly portal: {
    readonly interface: string | null;
    /** Memory for blocks of images; unset: IMAGE_CACHE_MIB of node/portal. */
    readonly imageCacheMib?: number;
    /** Commands that one initiator may have outstanding at a disk; unset: DEFAULT_QUEUE_DEPTH of node/iscsi. */
    readonly queueDepth?: number;
  };
  /** Threads that serve portal groups. Absent: one, at the ports of the node. */
  readonly dataPlane?: {
    /** auto: as many as the processors of this host are good for. */
    readonly workers?: number | 'auto';
    /** Of two for each worker beyond the first; unset: DEFAULT_WORKER_PORT of data-plane-size.ts. */
    readonly firstPort?: number;
  };
  /** Interfaces on which DHCP is answered. */
  readonly dhcp: { readonly interfaces: readonly string[] };
  /** Its share of portal groups beside the other nodes', and what fails together with it. */
  readonly placement?: { readonly weight?: number; readonly rack?: string };
  /** Where iPXE's own boot programs are found. */
  readonly ipxeDir: string;
  /** Absolute. Logs, images and applied state. */
  readonly dataDir: string;
}

/**
 * Reads DIRECTORY/bootfabric.yaml. Relative paths in it start at DIRECTORY.
 * @throws OperationError kind "invalid": names the key, its value and what is accepted; "not-found" without the file
 */
export async function loadConfig(directory: string): Promise<NodeConfig> {
  const file = join(directory, CONFIG_FILE);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new OperationError(`${file} cannot be read: ${describeError(error)}`, {
      kind: 'not-found',
      code: 'no-config',
      got: file,
      accepted: 'a node directory as "bootfabric init" writes it',
    });
  }
  return parseConfig(text, resolve(directory), file);
}

/**
 * @param directory absolute; relative paths start there
 * @param what names the text in errors
 * @throws OperationError kind "invalid"
 */
export function parseConfig(text: string, directory: string, what: string = CONFIG_FILE): NodeConfig {
  const document = checkSchema(configSchema, parseDocument(text, what), what);
  const ports = { ...document.ports };
  checkPortsDiffer(ports, what);
  return deepFreeze({
    nodeId: document.nodeId,
    address: checkAddress(document, what),
    ports,
    portal: { ...document.portal },
    ...(document.dataPlane === undefined ? {} : { dataPlane: { ...document.dataPlane } }),
    dhcp: { interfaces: [...document.dhcp.interfaces] },
    ...(document.placement === undefined ? {} : { placement: { ...document.placement } }),
    ipxeDir: resolve(directory, document.ipxeDir),
    dataDir: resolve(directory, document.dataDir ?? './data'),
  });
}

/** The text of a configuration file, as init writes it. */
export function formatConfig(config: Omit<NodeConfig, 'dataDir'> & { dataDir: string }): string {
  const head = '# One node of a bootfabric cluster. What all nodes share is in the cluster log, not here.\n';
  return head + stringifyYaml(config);
}

function parseDocument(text: string, what: string): unknown {
  try {
    return parseYaml(text) as unknown;
  } catch (error) {
    const line = error instanceof YAMLParseError ? error.linePos?.[0].line : undefined;
    const where = line === undefined ? '' : ` (line ${line})`;
    const reason = describeError(error).split('\n')[0] ?? '';
    throw new OperationError(`${what} is not YAML${where}: ${reason}`, {
      kind: 'invalid',
      code: 'bad-yaml',
      got: text.split('\n')[(line ?? 1) - 1] ?? '',
      accepted: 'a YAML mapping of keys to values',
    });
  }
}

function checkAddress(document: ConfigDocument, what: string): Ipv4 {
  try {
    return parseIpv4(document.address);
  } catch {
    throw new OperationError(`${what}: address is "${document.address}"`, {
      kind: 'invalid',
      code: 'bad-value',
      got: document.address,
      accepted: 'an IPv4 address of this node, such as 192.0.2.11',
    });
  }
}

/** TCP and UDP services are told apart, since they may share a number. */
const PORTS_BY_TRANSPORT: readonly (readonly PortName[])[] = [
  ['peer', 'replication', 'api', 'http', 'iscsi'],
  ['tftp', 'dhcp', 'pxe'],
];

/** @throws OperationError kind "invalid", code "port-twice" when two services would listen on one port */
export function checkPortsDiffer(ports: Readonly<Record<PortName, number>>, what: string): void {
  for (const names of PORTS_BY_TRANSPORT) {
    for (const [i, name] of names.entries()) {
      const other = names.slice(0, i).find((n) => ports[n] === ports[name]);
      if (other === undefined) continue;
      throw new OperationError(`${what}: ports.${name} and ports.${other} are both ${ports[name]}`, {
        kind: 'invalid',
        code: 'port-twice',
        got: ports[name],
        accepted: 'a port of its own for each service',
      });
    }
  }
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) deepFreeze(part as object);
  }
  return Object.freeze(value);
}
