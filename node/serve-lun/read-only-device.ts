import {
  type Allocation,
  type BlockDevice,
  DeviceError,
  type ReadMemory,
} from '../../storage/block-device.ts';

/** A disk whose blocks must not change; what the device server keeps beside them may. */
export class ReadOnlyDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly readOnly = true;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  get lengthBlocks(): number {
    return this.#device.lengthBlocks;
  }

  get writeCacheEnabled(): boolean {
    return this.#device.writeCacheEnabled;
  }

  get spaceIsLow(): boolean {
    return this.#device.spaceIsLow;
  }

  get serverState(): Uint8Array | undefined {
    return this.#device.serverState;
  }

  read(lba: number, lengthBlocks: number): Promise<readonly Uint8Array[]> {
    return this.#device.read(lba, lengthBlocks);
  }

  readNow(lba: number, lengthBlocks: number, memory?: ReadMemory): readonly Uint8Array[] | undefined {
    return this.#device.readNow?.(lba, lengthBlocks, memory);
  }

  write(): Promise<void> {
    return Promise.reject(readOnly());
  }

  discard(): Promise<void> {
    return Promise.reject(readOnly());
  }

  flush(): Promise<void> {
    return this.#device.flush();
  }

  allocation(lba: number): Promise<Allocation> {
    return this.#device.allocation(lba);
  }

  saveServerState(state: Uint8Array): Promise<void> {
    return this.#device.saveServerState(state);
  }
}

function readOnly(): DeviceError {
  return new DeviceError('read-only', 'the disk is served read-only');
}
