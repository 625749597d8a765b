export { asConfChange, decodeConfChange, encodeConfChange, LEAVE_JOINT } from './conf-change-codec.ts';
export type * from './conf-change-types.ts';
export { confStateAfter } from './conf-state.ts';
export { MemoryStorage } from './memory-storage.ts';
export type { RaftConfig } from './raft-config.ts';
export { RawNode } from './raw-node.ts';
export type * from './status.ts';
export type * from './trace.ts';
export * from './types.ts';
