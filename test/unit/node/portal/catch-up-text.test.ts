import { expect, it } from 'vitest';
import { describeCatchUp } from '../../../../node/portal/catch-up-text.ts';
import type { CatchUpStatus } from '../../../../storage/replication/portal-group.ts';

const underWay: CatchUpStatus = {
  nodeId: 'n3',
  beganIndex: 100,
  ackedIndex: 349,
  targetIndex: 1_100,
  bytesPerSecond: 12_345_678.9,
  paceBytesPerSecond: 20_000_000.4,
  limitBytesPerSecond: 100_000_000,
  secondsLeft: 6.2,
};

it('is told how far a replica is since it began, whole percents passed and whole seconds left', () => {
  expect(describeCatchUp(underWay)).toEqual({
    nodeId: 'n3',
    detail: 'record 349 of 1100, 24 %, 12.3 MB/s, about 7 s left',
    percent: 24,
    bytesPerSecond: 12_345_679,
    paceBytesPerSecond: 20_000_000,
    limitBytesPerSecond: 100_000_000,
    secondsLeft: 7,
  });
});

it('promises no end where it is not getting nearer', () => {
  const { detail, secondsLeft } = describeCatchUp({ ...underWay, bytesPerSecond: 0, secondsLeft: undefined });
  expect(detail).toBe('record 349 of 1100, 24 %, 0.0 MB/s');
  expect(secondsLeft).toBeNull();
});

it('is through where there was nothing to bring', () => {
  expect(describeCatchUp({ ...underWay, beganIndex: 1_100, ackedIndex: 1_100 }).percent).toBe(100);
});
