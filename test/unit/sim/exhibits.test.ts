import { describe, expect, it } from 'vitest';
import {
  CLUSTER_EXHIBITS,
  DOUBLE_FAILURE_EXHIBITS,
  FABRIC_EXHIBITS,
  FAILING_DISK_EXHIBITS,
  HUNG_PRIMARY_EXHIBITS,
  OLD_COPY_EXHIBITS,
  REPLICATION_EXHIBITS,
  REUSE_EXHIBITS,
  SLOW_MEMBER_EXHIBITS,
  UNIT_EXHIBITS,
} from '../../sim/museum/exhibits.ts';
import { faultyTexts } from '../../sim/museum/gallery.ts';

describe('each fault of the museum', () => {
  const all = [
    ...CLUSTER_EXHIBITS,
    ...REPLICATION_EXHIBITS,
    ...REUSE_EXHIBITS,
    ...HUNG_PRIMARY_EXHIBITS,
    ...SLOW_MEMBER_EXHIBITS,
    ...UNIT_EXHIBITS,
    ...FAILING_DISK_EXHIBITS,
    ...FABRIC_EXHIBITS,
    ...DOUBLE_FAILURE_EXHIBITS,
    ...OLD_COPY_EXHIBITS,
  ];
  it.each(all)('still fits: $name', (exhibit) => {
    for (const [file, text] of faultyTexts(exhibit)) expect(text, file).not.toBe('');
  });
});
