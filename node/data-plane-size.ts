import { OperationError } from '../base/errors.ts';
import type { WorkerEndpoints } from '../cluster/state/model.ts';
import type { NodeConfig } from './config.ts';
import { MAX_CHOSEN_WORKERS } from './portal/limits.ts';

/** Where workers beyond the first listen unless the node's settings say otherwise: two ports each, from here on. */
export const DEFAULT_WORKER_PORT = 7500;
const PORTS_PER_WORKER = 2;
const HIGHEST_PORT = 65_535;

/**
 * The data-plane workers that a node is to have beyond the first, as its settings say.
 * @param cores that this process may use
 * @throws OperationError kind "invalid", code "port-twice" or "bad-port": their ports do not fit
 */
export function furtherWorkers(
  { dataPlane, address, ports }: Pick<NodeConfig, 'dataPlane' | 'address' | 'ports'>,
  cores: number,
): WorkerEndpoints[] {
  const { workers = 1, firstPort = DEFAULT_WORKER_PORT } = dataPlane ?? {};
  // One core is for the main thread, on which everybody's leases depend.
  const count = workers === 'auto' ? Math.min(MAX_CHOSEN_WORKERS, Math.max(1, cores - 1)) : workers;
  const further = Array.from({ length: count - 1 }, (_, i) => firstPort + PORTS_PER_WORKER * i);
  for (const [name, taken] of Object.entries(ports)) {
    if (!further.some((port) => taken >= port && taken < port + PORTS_PER_WORKER)) continue;
    throw new OperationError(
      `dataPlane.firstPort: a data-plane worker and ports.${name} would both be at ${taken}`,
      {
        kind: 'invalid',
        code: 'port-twice',
        got: firstPort,
        accepted: `the first of ${PORTS_PER_WORKER * further.length} ports that nothing else uses`,
      },
    );
  }
  const beyond = (further.at(-1) ?? 0) + PORTS_PER_WORKER - 1;
  if (beyond > HIGHEST_PORT) {
    throw new OperationError(`dataPlane.firstPort: a data-plane worker would be at port ${beyond}`, {
      kind: 'invalid',
      code: 'bad-port',
      got: firstPort,
      accepted: `at most ${HIGHEST_PORT + 1 - PORTS_PER_WORKER * further.length} for ${count} workers`,
    });
  }
  return further.map((port) => ({ replication: `${address}:${port}`, iscsi: `${address}:${port + 1}` }));
}
