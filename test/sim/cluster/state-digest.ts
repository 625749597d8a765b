import { crc32c } from '../../../base/crc32c.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';

const known = new WeakMap<object, number>();

/** Of a record, which is never changed in place and stands in one place only. */
function recordDigest(place: string, record: object): number {
  const before = known.get(record);
  if (before !== undefined) return before;
  const digest = crc32c(Buffer.from(place + JSON.stringify(record)));
  known.set(record, digest);
  return digest;
}

function tableDigest(name: string, table: Readonly<Record<string, object>>): number {
  let sum = 0;
  for (const key in table) {
    // The order of the records is not part of the state: it is another one after a restart.
    sum = (sum + Math.imul(recordDigest(`${name} ${key} `, table[key] as object), 0x9e3779b1)) | 0;
  }
  return sum;
}

/** The same for equal states. */
export function stateDigest(state: ClusterState): number {
  const { nodes, images, clients, portalGroups, bootFiles, nextLunId } = state;
  let digest = nextLunId;
  for (const [name, table] of Object.entries({ nodes, images, clients, portalGroups, bootFiles })) {
    digest = (Math.imul(digest, 31) + tableDigest(name, table)) | 0;
  }
  return digest;
}
