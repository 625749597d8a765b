import { BEGUN_WRITE_EXHIBITS } from './begun-write-exhibits.ts';
import { GRANT_EXHIBITS } from './grant-exhibits.ts';
import { LOG_EXHIBITS } from './log-exhibits.ts';
import { MEMBER_EXHIBITS } from './member-exhibits.ts';
import { PROPOSAL_EXHIBITS } from './proposal-exhibits.ts';
import { GROUP_EXHIBITS } from './replication-exhibits.ts';

/** Those that the simulator of the cluster log is to find. */
export const CLUSTER_EXHIBITS = [...LOG_EXHIBITS, ...MEMBER_EXHIBITS, ...PROPOSAL_EXHIBITS];
/** Those that the simulator of portal-group replication is to find. */
export const REPLICATION_EXHIBITS = [...GROUP_EXHIBITS, ...GRANT_EXHIBITS, ...BEGUN_WRITE_EXHIBITS];
export { DOUBLE_FAILURE_EXHIBITS, FABRIC_EXHIBITS } from './fabric-exhibits.ts';
export { FAILING_DISK_EXHIBITS } from './failing-disk-exhibits.ts';
export { HUNG_PRIMARY_EXHIBITS } from './hung-primary-exhibits.ts';
export { LATE_READ_EXHIBITS } from './late-read-exhibits.ts';
export { LESSER_COPY_EXHIBITS } from './lesser-copy-exhibits.ts';
export { OLD_COPY_EXHIBITS } from './old-copy-exhibits.ts';
export { REUSE_EXHIBITS } from './reuse-exhibits.ts';
export { SLOW_MEMBER_EXHIBITS } from './slow-member-exhibits.ts';
export { UNIT_EXHIBITS } from './unit-exhibits.ts';
