import { routes } from '../../contract/routes.ts';
import { type CommandContext, print } from '../command-context.ts';
import { UsageError } from '../failures.ts';

/** `bootfabric portal-group start-from` */
export async function startGroupFrom(
  context: CommandContext,
  group: string,
  node: string,
  options: { readonly iAcceptDataLoss?: boolean },
): Promise<void> {
  if (options.iAcceptDataLoss !== true) {
    throw new UsageError(
      `starting portal group ${group} from ${node} gives up every write that only the lost copies hold`,
      { accepted: 'the option --i-accept-data-loss, where that is what you want' },
    );
  }
  const started = await context.api.call(routes.startGroupFrom, {
    params: { id: group },
    body: { node, acceptDataLoss: true },
  });
  print(
    context,
    started,
    `Portal group ${started.group} starts from ${started.node}, epoch ${started.epoch}\n`,
  );
}
