import type { ClientDocument, NewClientDocument } from '../../contract/clients.ts';
import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
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
  ]);
  const text = table(['CLIENT', 'MAC', 'IMAGE', 'WRITE CACHE', 'ADDRESS', 'PORTAL GROUP'], rows);
  print(context, document, text === '' ? 'No clients are registered\n' : text);
}

/** `bootfabric client remove` */
export async function removeClient(context: CommandContext, name: string): Promise<void> {
  const removed = await context.api.call(routes.removeClient, { params: { name } });
  print(context, removed, `Client ${removed.name} is forgotten and its writes are dropped\n`);
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
  ]);
}
