import type { CatchUpStatus } from '../../storage/replication/portal-group.ts';
import type { DataPlaneStatus } from './worker-protocol.ts';

/** How far a replica is that is being brought up to date, in numbers and in words. */
export function describeCatchUp(
  catchUp: CatchUpStatus,
): NonNullable<DataPlaneStatus['groups'][number]['catchUp']> {
  const { nodeId, ackedIndex, targetIndex, beganIndex, limitBytesPerSecond } = catchUp;
  const bytesPerSecond = Math.round(catchUp.bytesPerSecond);
  const paceBytesPerSecond = Math.round(catchUp.paceBytesPerSecond);
  const secondsLeft = catchUp.secondsLeft === undefined ? null : Math.ceil(catchUp.secondsLeft);
  const speed = `${(bytesPerSecond / 1_000_000).toFixed(1)} MB/s`;
  const left = secondsLeft === null ? '' : `, about ${secondsLeft} s left`;
  const toDo = targetIndex - beganIndex;
  const percent = toDo <= 0 ? 100 : Math.floor(((ackedIndex - beganIndex) * 100) / toDo);
  const detail = `record ${ackedIndex} of ${targetIndex}, ${percent} %, ${speed}${left}`;
  return { nodeId, detail, percent, bytesPerSecond, paceBytesPerSecond, limitBytesPerSecond, secondsLeft };
}
