import type {
  ChapChangedDocument,
  ClientDocument,
  NewChapDocument,
  NewClientDocument,
} from '../../contract/clients.ts';
import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { UsageError } from '../failures.ts';
import { facts, orDash, table } from '../table.ts';

const versionText = (client: ClientDocument): string =>
  client.imageVersion === null ? 'newest' : String(client.imageVersion);

/** `bootfabric client add` */
export async function addClient(context: CommandContext, client: NewClientDocument): Promise<void> {
  const added = await context.api.call(routes.addClient, { body: client });
  print(context, added, () => `Client ${added.name} is registered\n${clientFacts(added)}`);
}

/** `bootfabric client list` */
export async function listClients(context: CommandContext): Promise<void> {
  const document = await context.api.call(routes.listClients, { query: {} });
  const rows = document.clients.map((client) => [
    client.name,
    client.macs.join(', '),
    `${client.image} (${versionText(client)})`,
    client.writeCache,
    orDash(client.address),
    `${client.portalGroup} at ${client.portal}`,
    accessText(client),
  ]);
  const text = table(['CLIENT', 'MAC', 'IMAGE', 'WRITE CACHE', 'ADDRESS', 'PORTAL GROUP', 'ACCESS'], rows);
  print(context, document, text === '' ? 'No clients are registered\n' : text);
}

/** `bootfabric client remove` */
export async function removeClient(context: CommandContext, name: string): Promise<void> {
  const removed = await context.api.call(routes.removeClient, { params: { name } });
  print(context, removed, `Client ${removed.name} is forgotten and its writes are dropped\n`);
}

export interface ChapOptions {
  readonly off?: boolean;
  readonly oneWay?: boolean;
  readonly mutual?: boolean;
  readonly rotate?: boolean;
  readonly revoke?: boolean;
  readonly show?: boolean;
}

/** `bootfabric client chap` @throws UsageError when the options contradict each other, or ask for nothing */
export async function changeClientChap(
  context: CommandContext,
  name: string,
  options: ChapOptions,
): Promise<void> {
  const body: NewChapDocument = {
    ...modeOf(options),
    revoke: options.revoke ?? false,
    reveal: options.show ?? false,
  };
  const changed = await context.api.call(routes.setClientChap, { params: { name }, body });
  print(context, changed, () => chapText(changed));
}

function modeOf({ off, oneWay, mutual, rotate }: ChapOptions): Pick<NewChapDocument, 'mode'> {
  const given = [off, oneWay, mutual, rotate].filter((option) => option === true).length;
  if (given !== 1) {
    throw new UsageError(given === 0 ? 'nothing to change was given' : 'more than one change was given', {
      accepted: 'one of --rotate, --one-way, --mutual and --off',
    });
  }
  if (off === true) return { mode: 'off' };
  if (oneWay === true) return { mode: 'one-way' };
  return mutual === true ? { mode: 'mutual' } : {};
}

function chapText({ client, initiator, target }: ChapChangedDocument): string {
  const since = client.chapAwaitsBoot
    ? ', from its next boot on; its running system is let in as before'
    : '';
  const secrets = [
    ...(initiator === null ? [] : [['initiator', `${initiator.username} ${initiator.secret}`] as const]),
    ...(target === null ? [] : [['target', `${target.username} ${target.secret}`] as const]),
  ];
  return `CHAP of client ${client.name}: ${client.chap}${since}\n${secrets.length === 0 ? '' : facts(secrets)}`;
}

/** `bootfabric client sources` */
export async function changeClientSources(
  context: CommandContext,
  name: string,
  sources: readonly string[],
): Promise<void> {
  const body = { sources: [...sources] };
  const client = await context.api.call(routes.setClientSources, { params: { name }, body });
  print(context, client, () => `Client ${client.name} may attach its disk from ${sourcesText(client)}\n`);
}

/** `bootfabric client multipath` @throws UsageError when neither or both of on and off were given */
export async function changeClientMultipath(
  context: CommandContext,
  name: string,
  options: { readonly on?: boolean; readonly off?: boolean },
): Promise<void> {
  if (options.on === options.off) {
    throw new UsageError('it is to be turned on or off', { accepted: 'one of --on and --off' });
  }
  const body = { enabled: options.on === true };
  const client = await context.api.call(routes.setClientMultipath, { params: { name }, body });
  print(context, client, () => `Client ${client.name} finds its disk at ${client.paths.join(' and ')}\n`);
}

const sourcesText = (client: ClientDocument): string => client.sources?.join(', ') ?? 'anywhere';

const chapState = (client: ClientDocument): string =>
  client.chapAwaitsBoot ? `${client.chap}, from its next boot on` : client.chap;

/** What was set of how a client may reach its disk, in one cell; "-" where nothing was. */
function accessText(client: ClientDocument): string {
  const parts = [
    ...(client.chap === 'off' && !client.chapAwaitsBoot ? [] : [`CHAP ${chapState(client)}`]),
    ...(client.sources === null ? [] : [`from ${sourcesText(client)}`]),
    ...(client.multipath ? ['multipath'] : []),
  ];
  return parts.join('; ') || '-';
}

function clientFacts(client: ClientDocument): string {
  return facts([
    ['MAC', client.macs.join(', ')],
    ['image', `${client.image}, version ${versionText(client)}`],
    ['write cache', client.writeCache],
    ['address', orDash(client.address)],
    ['portal group', `${client.portalGroup} at ${client.portal}`],
    ['target', client.targetName],
    ['initiator', client.initiatorName],
    ['CHAP', chapState(client)],
    ['from', sourcesText(client)],
    ...(client.multipath ? [['paths', client.paths.join(', ')] as const] : []),
  ]);
}
