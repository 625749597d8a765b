import { MAX_AUDIT_RECORDS, MAX_TEXT_LENGTH } from './limits.ts';
import type { ClusterState } from './model.ts';

/** The state with one more thing remembered that somebody did to the membership. */
export function withAudit(state: ClusterState, atMs: number, event: string, detail: string): ClusterState {
  const record = { atMs, event, detail: detail.slice(0, MAX_TEXT_LENGTH) };
  return { ...state, audit: [...state.audit, record].slice(-MAX_AUDIT_RECORDS) };
}
