/** Complaints that cannot arise while everybody keeps to the protocol. */
export const NEVER: readonly string[] = [
  'replication.second-primary',
  'replication.bad-record',
  'replication.bad-frame',
  'replication.bad-checksum',
  'replication.refused-truncate',
  'replication.refused-reset',
  'replication.ack-past-end',
  'replication.epoch-reused',
];
