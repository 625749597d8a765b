/** What a LUN needs of an immutable image version: its size and its bytes. */
export interface ImageSource {
  /**
   * @returns undefined when this node does not hold the whole version
   */
  open(image: ImageVersionRef): Promise<OpenImage | undefined>;
}

export interface ImageVersionRef {
  readonly name: string;
  readonly version: number;
}

/** A chunk of a version by its number, or what says which chunks there are. */
export type ImagePart = number | 'manifest';

export interface OpenImage {
  readonly sizeBytes: number;
  /**
   * Bytes past the end of the image read as zeros.
   * @throws DeviceError kind "medium-error" when the file cannot be read
   */
  read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array>;
  /** What read would resolve to, in parts, where that takes no waiting; undefined where it has to be fetched. */
  readNow?(offsetBytes: number, lengthBytes: number): readonly Uint8Array[] | undefined;
  close(): Promise<void>;
}
