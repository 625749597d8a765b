import { describeError, invariant } from '../../base/errors.ts';
import { DeviceError } from '../block-device.ts';
import type { OpenFile } from '../log/file-system.ts';
import type { OpenImage } from './image-source.ts';
import { MAX_READ_BYTES } from './limits.ts';

/** An image that is kept as a file of its raw bytes. */
export class RawImage implements OpenImage {
  readonly sizeBytes: number;
  readonly #file: OpenFile;
  readonly #what: string;

  /**
   * @param file closed with this
   * @param what names the image in errors, as "image debian version 3"
   */
  constructor(file: OpenFile, sizeBytes: number, what: string) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.#what = what;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    invariant(offsetBytes >= 0 && lengthBytes >= 0 && lengthBytes <= MAX_READ_BYTES, 'a read within bounds');
    const out = Buffer.allocUnsafe(lengthBytes);
    const insideBytes = Math.max(0, Math.min(lengthBytes, this.sizeBytes - offsetBytes));
    let readBytes = 0;
    try {
      if (insideBytes > 0) readBytes = await this.#file.read(out.subarray(0, insideBytes), offsetBytes);
    } catch (error) {
      throw this.#damaged(offsetBytes, error);
    }
    if (readBytes < insideBytes) throw this.#damaged(offsetBytes, new Error('the file is too short'));
    out.fill(0, insideBytes);
    return out;
  }

  readNow(offsetBytes: number, lengthBytes: number): readonly Uint8Array[] | undefined {
    if (this.#file.readNow === undefined || lengthBytes > MAX_READ_BYTES) return undefined;
    const insideBytes = Math.max(0, Math.min(lengthBytes, this.sizeBytes - offsetBytes));
    const out = Buffer.allocUnsafe(lengthBytes);
    if (insideBytes > 0 && !this.#file.readNow(out.subarray(0, insideBytes), offsetBytes)) return undefined;
    out.fill(0, insideBytes);
    return [out];
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #damaged(offsetBytes: number, error: unknown): DeviceError {
    const message = `${this.#what} cannot be read at ${offsetBytes}: ${describeError(error)}`;
    return new DeviceError('medium-error', message, { cause: error });
  }
}
