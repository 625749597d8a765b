import { LOG_EXHIBITS } from './log-exhibits.ts';
import { MEMBER_EXHIBITS } from './member-exhibits.ts';
import { PROPOSAL_EXHIBITS } from './proposal-exhibits.ts';

/** Those that the simulator of the cluster log is to find. */
export const CLUSTER_EXHIBITS = [...LOG_EXHIBITS, ...MEMBER_EXHIBITS, ...PROPOSAL_EXHIBITS];
export { DOUBLE_FAILURE_EXHIBITS, FABRIC_EXHIBITS } from './fabric-exhibits.ts';
export { FAILING_DISK_EXHIBITS } from './failing-disk-exhibits.ts';
export { REPLICATION_EXHIBITS } from './replication-exhibits.ts';
export { REUSE_EXHIBITS } from './reuse-exhibits.ts';
export { SLOW_MEMBER_EXHIBITS } from './slow-member-exhibits.ts';
export { UNIT_EXHIBITS } from './unit-exhibits.ts';
