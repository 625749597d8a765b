import { writeFile } from 'node:fs/promises';
import { describeError, OperationError } from '../../../base/errors.ts';
import type { NodeDocument, NodeListDocument } from '../../contract/nodes.ts';
import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { UnreachableError, UsageError } from '../failures.ts';
import { DRAIN_POLL_MS, DRAIN_STALL_MS, DRAIN_UNREACHABLE_MS } from '../limits.ts';
import { counted, orDash, table, yesNo } from '../table.ts';

/** `bootfabric node list` */
export async function listNodes(context: CommandContext): Promise<void> {
  const list = await context.api.call(routes.listNodes, { query: {} });
  print(context, list, () => listText(list));
}

/** `bootfabric node token`: lets one host join. */
export async function makeToken(context: CommandContext, lifetimeSeconds: number | undefined): Promise<void> {
  const body = lifetimeSeconds === undefined ? {} : { lifetimeSeconds };
  const made = await context.api.call(routes.createJoinToken, { body });
  print(
    context,
    made,
    `One host may join until ${made.expiresAt} (token ${made.id}). On it, run:\n\n` +
      `  bootfabric join ${made.token} --id ID --address ADDRESS --out DIRECTORY\n\n` +
      'with --portal-interface NAME as well, unless portal addresses are in 127.0.0.0/8; ' +
      'bootfabric join --help has the rest\n',
  );
}

/** `bootfabric node revoke-token` */
export async function revokeToken(context: CommandContext, id: string): Promise<void> {
  const revoked = await context.api.call(routes.revokeJoinToken, { params: { id } });
  print(context, revoked, `Join token ${id} is of no use any more\n`);
}

/** `bootfabric node drain`: ends when nothing is left to be moved. */
export async function drainNode(context: CommandContext, id: string, wait: boolean): Promise<void> {
  await context.api.call(routes.drainNode, { params: { id } });
  const list = wait ? await untilDrained(context, id) : await look(context);
  const text = wait
    ? `Node ${id} leads nothing any more; what could be copied elsewhere has been\n`
    : `Node ${id} is being drained\n`;
  print(context, list, () => `${text}\n${listText(list)}`);
}

/** `bootfabric node undrain` */
export async function undrainNode(context: CommandContext, id: string): Promise<void> {
  const list = await context.api.call(routes.undrainNode, { params: { id } });
  print(context, list, () => `Node ${id} takes part in full again\n\n${listText(list)}`);
}

/** `bootfabric node remove`: drains the node first where it is up. Ends when its host may be switched off. */
export async function removeNode(context: CommandContext, id: string, wait: boolean): Promise<void> {
  const node = (await look(context)).nodes.find((n) => n.nodeId === id);
  if (wait && node?.status === 'up') {
    await context.api.call(routes.drainNode, { params: { id } });
    await untilDrained(context, id);
  }
  const removed = await context.api.call(routes.removeNode, { params: { id } });
  const list = wait ? await until(context, id, (now) => hasGone(now, id)) : removed;
  const text = hasGone(list, id)
    ? 'its process ends by itself'
    : 'its process ends by itself, once the others need its vote no more: let it run until then';
  print(context, list, () => `Node ${id} is removed for good; ${text}\n\n${listText(list)}`);
}

/** `bootfabric node replace`: ends when the old node has been removed. */
export async function replaceNode(
  context: CommandContext,
  { id, replacement, wait }: { readonly id: string; readonly replacement: string; readonly wait: boolean },
): Promise<void> {
  await context.api.call(routes.replaceNode, { params: { id }, body: { replacement } });
  const list = wait ? await until(context, id, (now) => hasGone(now, id)) : await look(context);
  const text = wait ? `has taken the place of node ${id}, which is removed` : `takes the place of node ${id}`;
  print(context, list, () => `Node ${replacement} ${text}\n\n${listText(list)}`);
}

/** `bootfabric portal-group move` */
export async function moveGroup(context: CommandContext, id: string, to: string): Promise<void> {
  const moved = await context.api.call(routes.movePortalGroup, { params: { id }, body: { to } });
  print(context, moved, `Portal group ${id} is led by ${orDash(moved.primary)}, epoch ${moved.epoch}\n`);
}

/** `bootfabric backup` */
export async function takeBackup(context: CommandContext, file: string): Promise<void> {
  const backup = await context.api.call(routes.getBackup, {});
  try {
    await writeFile(file, `${JSON.stringify(backup, null, 2)}\n`, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    throw new UsageError(`the backup cannot be written: ${describeError(error)}`, {
      got: file,
      accepted: 'a file that does not exist yet, in a directory this user may write',
    });
  }
  const { state: _, ...summary } = backup;
  print(
    context,
    { ...summary, file },
    `The configuration of cluster ${backup.clusterName} is in ${file}\n` +
      'It holds no disks and no images, and no keys: a cluster restored from it has new ones\n',
  );
}

function look(context: CommandContext): Promise<NodeListDocument> {
  return context.api.call(routes.listNodes, { query: {} });
}

/** The cluster does without it, and without its vote. */
function hasGone({ nodes, removed }: NodeListDocument, id: string): boolean {
  return !nodes.some((n) => n.nodeId === id) && !removed.some((n) => n.nodeId === id && n.votes);
}

function untilDrained(context: CommandContext, id: string): Promise<NodeListDocument> {
  return until(context, id, (list) => {
    const node = list.nodes.find((n) => n.nodeId === id);
    return node === undefined || (node.leads.length === 0 && node.obstacles.length === 0);
  });
}

/** Says what is being waited for as it changes. @throws OperationError when nothing changes for long */
async function until(
  { api, io }: CommandContext,
  id: string,
  isDone: (list: NodeListDocument) => boolean,
): Promise<NodeListDocument> {
  let said = '';
  let changedMs = io.clock.monotonicMs();
  let reachedMs = changedMs;
  for (;;) {
    const nowMs = io.clock.monotonicMs();
    try {
      const list = await api.call(routes.listNodes, { query: {} });
      reachedMs = nowMs;
      if (isDone(list)) return list;
      const node = list.nodes.find((n) => n.nodeId === id);
      const waiting = waitingFor(node);
      if (waiting !== said) {
        io.err(`${id}: ${waiting}\n`);
        said = waiting;
        changedMs = nowMs;
      }
    } catch (error) {
      // While leadership moves, or the node asked goes, nobody may be able to answer for a moment.
      const passing = error instanceof OperationError && error.kind === 'unavailable';
      const isLost = error instanceof UnreachableError || passing;
      if (!isLost || nowMs - reachedMs > DRAIN_UNREACHABLE_MS) throw error;
    }
    if (nowMs - changedMs > DRAIN_STALL_MS) {
      throw new OperationError(`node ${id}: nothing has changed for ${DRAIN_STALL_MS / 1000} s`, {
        kind: 'unavailable',
        code: 'drain-stalled',
        got: said,
        accepted: 'look at "bootfabric status", mend what is wrong, and ask again',
      });
    }
    await io.sleep(DRAIN_POLL_MS);
  }
}

function waitingFor(node: NodeDocument | undefined): string {
  if (node === undefined) return 'it is removed; the others need its vote until enough of them are in touch';
  // Of a node that is up, what it leads is among the obstacles.
  const isToldOf = node.status === 'up' || node.leads.length === 0;
  const text = [...(isToldOf ? [] : [`it still leads ${node.leads.join(', ')}`]), ...node.obstacles].join(
    '; ',
  );
  return text === '' ? `it still keeps ${counted(node.replicas.length, 'copy', 'copies')}` : text;
}

/** What `bootfabric node list` prints for people. */
export function listText({ nodes, removed, joinTokens }: NodeListDocument): string {
  const sections = [
    table(
      ['NODE', 'ADDRESS', 'STATUS', 'DRAINING', 'WEIGHT', 'RACK', 'LEADS', 'COPIES', 'MAY BE REMOVED'],
      nodes.map((node) => [
        node.nodeId,
        node.address,
        node.status,
        node.replacedBy === null ? yesNo(node.draining) : `replaced by ${node.replacedBy}`,
        String(node.weight),
        orDash(node.rack),
        node.leads.join(', ') || '-',
        node.replicas.join(', ') || '-',
        node.obstacles[0] === undefined ? 'yes' : `no: ${node.obstacles[0]}`,
      ]),
    ),
    table(
      ['REMOVED NODE', 'AT', 'VOTES STILL'],
      removed.map((node) => [node.nodeId, node.removedAt, yesNo(node.votes)]),
    ),
    table(
      ['JOIN TOKEN', 'UNTIL', 'USED BY'],
      joinTokens.map((token) => [token.id, token.expiresAt, orDash(token.usedBy)]),
    ),
  ];
  return sections.filter((section) => section !== '').join('\n');
}
