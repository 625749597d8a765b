import type { NodeEndpoints } from '../../../cluster/state/model.ts';

/** Every node has addresses of its own. */
export function endpointsOf(nodeId: string): NodeEndpoints {
  const at = (port: number): string => `${nodeId}.test:${port}`;
  return { peer: at(1), replication: at(2), api: at(3), http: at(4), tftp: at(5), iscsi: at(6) };
}
