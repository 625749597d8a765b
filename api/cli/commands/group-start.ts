import { OperationError } from '../../../base/errors.ts';
import type { GroupStartedDocument } from '../../contract/group-start.ts';
import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { UsageError } from '../failures.ts';
import { COPY_AGAIN_MS } from '../limits.ts';

export interface StartFromOptions {
  readonly iAcceptDataLoss?: boolean;
  readonly acceptHoles?: boolean;
}

/** `bootfabric portal-group start-from` */
export async function startGroupFrom(
  context: CommandContext,
  group: string,
  node: string,
  options: StartFromOptions,
): Promise<void> {
  if (options.iAcceptDataLoss !== true) {
    throw new UsageError(
      `starting portal group ${group} from ${node} gives up every write that only the lost copies hold`,
      { accepted: 'the option --i-accept-data-loss, where that is what you want' },
    );
  }
  const started = await ask(context, group, node, options.acceptHoles === true);
  const { lacking, givenUp = [] } = started;
  const holes = lacking === null ? '' : `, which lacks ${lacking}`;
  const lost =
    givenUp.length === 0
      ? ''
      : `Lost: every write that only the copy of ${givenUp.join(', ')} has. ` +
        'Start the clients of this portal group again: they may have more in their memory than is on their disks.\n';
  print(
    context,
    started,
    `Portal group ${started.group} starts from ${started.node}${holes}, epoch ${started.epoch}\n${lost}`,
  );
}

/** A large copy takes its time to be looked through, and is asked about until it has been. */
async function ask(
  context: CommandContext,
  group: string,
  node: string,
  acceptHoles: boolean,
): Promise<GroupStartedDocument> {
  for (;;) {
    try {
      return await context.api.call(routes.startGroupFrom, {
        params: { id: group },
        body: { node, acceptDataLoss: true, ...(acceptHoles ? { acceptHoles: true as const } : {}) },
      });
    } catch (error) {
      if (!(error instanceof OperationError) || error.code !== 'copy-being-read') throw error;
      await context.io.sleep(COPY_AGAIN_MS);
    }
  }
}
