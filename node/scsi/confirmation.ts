import type { BlockDevice } from '../../storage/block-device.ts';

/**
 * For answers that rest on what the device server keeps of the unit, and touch no block: resolves once it is certain that
 * no other node can be serving the unit, and have changed that.
 * @throws DeviceError kind "not-serving"
 */
export async function confirmServing(device: Pick<BlockDevice, 'read'>): Promise<void> {
  // Reading nothing asks just that.
  await device.read(0, 0);
}
