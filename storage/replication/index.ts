export { CheckpointDirectory, type CheckpointStore, type CheckpointWriter } from './checkpoint-store.ts';
export type { GroupMeta, MetaStore } from './group-meta.ts';
export type {
  DeliberateFaults,
  MemberIdentity,
  PortalGroupState,
  ProposalOutcome,
  ReplicationClusterState,
  ReplicationNode,
} from './group-state.ts';
export type { OtherWorkers, WorkerPart } from './node-pace.ts';
export type { Clients, LanePart } from './pace-lane.ts';
export type { CatchUpStatus, LunInfo, MemberStatus, PortalGroup, PortalGroupStatus } from './portal-group.ts';
export { DamagedCopyError, ReplicationHost, type ReplicationHostOptions } from './replication-host.ts';
