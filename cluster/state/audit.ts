import { MAX_AUDIT_RECORDS, MAX_TEXT_LENGTH } from './limits.ts';
import type { ClusterState } from './model.ts';

/** Events by which acknowledged writes may have been given up. */
export const STARTED_FROM = 'group-started-from';
export const CLUSTER_RECOVERED = 'cluster-recovered';

/** The state with one more thing remembered that somebody did to the membership. */
export function withAudit(state: ClusterState, atMs: number, event: string, detail: string): ClusterState {
  const record = { atMs, event, detail: detail.slice(0, MAX_TEXT_LENGTH) };
  return { ...state, audit: [...state.audit, record].slice(-MAX_AUDIT_RECORDS) };
}
