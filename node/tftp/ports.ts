/** The boot programs this node can give out. */
export interface BootFiles {
  /** The whole file, which the caller does not change; undefined when there is none of that name. */
  open(name: string): Promise<Uint8Array | undefined>;
}
