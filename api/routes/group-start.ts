import type { FastifyInstance } from 'fastify';
import { describeError } from '../../base/errors.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import { ApiError } from '../api-error.ts';
import { checkToken } from '../authentication.ts';
import type { CopyReportDocument } from '../contract/group-start.ts';
import { routes } from '../contract/routes.ts';
import { findGroup } from '../documents.ts';
import { COPY_POLL_MS, COPY_WAIT_MS, MAX_BY_LENGTH } from '../limits.ts';
import type { NodeServices } from '../ports.ts';
import { type ApiContext, propose, serveRoute } from '../serve-route.ts';

/** The one act by which a portal group goes on without its last in-sync copy. */
export function groupStartRoutes(app: FastifyInstance, { cluster, services, logger }: ApiContext): void {
  serveRoute(app, routes.startGroupFrom, async ({ params, body, http }) => {
    const state = await cluster.linearizableState();
    const group = findGroup(state, params.id);
    const by = checkToken(http.headers.authorization, cluster.state().tokens).id;
    const at = { group: group.id, epoch: group.epoch, nodeId: body.node };
    const isAsked = group.primary === undefined && group.replicas.includes(body.node);
    const lacking = isAsked ? await lackingOf(state, services, at, body.acceptHoles === true) : undefined;
    logger.warn('portal-group.start-from', { ...at, by, lacking });
    const atMs = services.membership.nowMs();
    await propose(cluster, { type: 'startGroupFrom', ...at, atMs, by: byWhom(by, lacking) });
    const givenUp = group.inSync.map(({ nodeId }) => nodeId);
    return { group: group.id, node: body.node, epoch: group.epoch + 1, givenUp, lacking: lacking ?? null };
  });
}

/** The audit trail keeps it with who did it. */
function byWhom(by: string, lacking: string | undefined): string {
  if (lacking === undefined) return by;
  return `${by}, who accepted that it lacks ${lacking}`.slice(0, MAX_BY_LENGTH);
}

/**
 * What a copy lacks beside its end, in words.
 * @throws ApiError code "copy-has-holes", "copy-unknown" where that was not accepted, "copy-being-read"
 */
async function lackingOf(
  state: ClusterState,
  services: NodeServices,
  at: { readonly group: string; readonly nodeId: string },
  areHolesAccepted: boolean,
): Promise<string | undefined> {
  const what = `the copy of portal group ${at.group} on ${at.nodeId}`;
  const accepted = 'another copy, or "acceptHoles": true (--accept-holes)';
  const unknown = (reason: string): string => {
    if (areHolesAccepted) return `what nobody knows (${reason})`;
    throw new ApiError('copy-unknown', `${what} could not be looked through: ${reason}`, { accepted });
  };
  const untilMs = services.membership.nowMs() + COPY_WAIT_MS;
  for (;;) {
    let reading: Awaited<ReturnType<NodeServices['readCopy']>>;
    try {
      reading = await services.readCopy(at.nodeId, at.group);
    } catch (error) {
      return unknown(describeError(error));
    }
    if (reading.kind === 'none') return unknown('that node does not have it open');
    if (reading.kind === 'failed') return unknown(reading.reason);
    if (reading.kind === 'read') {
      const lacking = describeHoles(state, reading.report);
      if (lacking === undefined || areHolesAccepted) return lacking;
      throw new ApiError('copy-has-holes', `${what} lacks ${lacking}`, { accepted });
    }
    if (services.membership.nowMs() >= untilMs) {
      const { readRecords, totalRecords } = reading;
      const progress = `${readRecords} of ${totalRecords} records so far`;
      throw new ApiError('copy-being-read', `${what} is being looked through: ${progress}`, {
        accepted: 'the same request again, in a moment',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, COPY_POLL_MS));
  }
}

/** Undefined: nothing that it knows of. */
function describeHoles(state: ClusterState, report: CopyReportDocument): string | undefined {
  const { missingRecords, openVoids, missingBlocks, damagedBlocks = [], emptyLuns, unnamedVoids } = report;
  if (missingRecords === 0 && openVoids === 0 && damagedBlocks.length === 0) return undefined;
  const clientOf = (lunId: number): string =>
    Object.values(state.clients).find((client) => client.lunId === lunId)?.name ?? `a client that is no more`;
  const parts = missingBlocks.map(
    ({ lunId, blockCount }) => `${blockCount} blocks of 4 KiB of the disk of ${clientOf(lunId)}`,
  );
  parts.push(
    ...damagedBlocks.map(
      ({ lunId, blockCount }) =>
        `what was in ${blockCount} damaged blocks of 4 KiB of the disk of ${clientOf(lunId)}`,
    ),
  );
  parts.push(...emptyLuns.map((lunId) => `all of the disk of ${clientOf(lunId)}`));
  if (unnamedVoids > 0) parts.push(`the blocks of ${unnamedVoids} records in its middle`);
  if (missingRecords > 0) parts.push(`at least ${missingRecords} records at its end`);
  return parts.join(', ');
}
