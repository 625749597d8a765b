/** Most bounds of the core come in by RaftConfig; these are the ones nobody needs to choose. */

/** Read requests that wait for a quorum, and as many again that wait for the term's first commit. */
export const MAX_WAITING_READS = 65_536;

/** What an entry costs beside its data, for the limits that count bytes: index, term, type and framing. */
export const ENTRY_OVERHEAD_BYTES = 24;
