import type { AddedBootFileDocument, RemovedBootFileDocument } from './contract/boot-files.ts';
import type { CopyReadingDocument } from './contract/group-start.ts';
import type { RemovedImageVersionDocument } from './contract/images.ts';
import type { JoinAnswerDocument, JoinRequestDocument } from './contract/join.ts';
import type { LunDocument } from './contract/luns.ts';
import type { BeginBootDocument, ImageUseDocument } from './contract/peer-content.ts';
import type { IntegrityDocument, NodeStatusDocument } from './contract/status.ts';

/** What the API needs of its node besides the cluster's view (cluster/ports.ts). */
export interface NodeServices {
  /**
   * Stores an image's next version here and tells the cluster of it. Reads the source to its end, at the
   * pace of the disk. When the source throws or the signal aborts, nothing remains.
   * @throws OperationError
   */
  importImage(request: ImportRequest): Promise<{ readonly image: string; readonly version: number }>;
  /**
   * Takes a version out of an image; its files go later.
   * @param by whose word it is. @throws OperationError naming who uses it, or why that cannot be known
   */
  removeImageVersion(image: string, version: number, by: string): Promise<RemovedImageVersionDocument>;
  /** Which disks that this node serves are over a version of an image. */
  imageUse(image: string, version: number): Promise<ImageUseDocument>;
  /** Stores a boot file here and tells the cluster of it. @throws OperationError */
  addBootFile(name: string, bytes: Uint8Array): Promise<AddedBootFileDocument>;
  /** @param by whose word it is. @throws OperationError when there is none, or machines could not boot without it */
  removeBootFile(name: string, by: string): Promise<RemovedBootFileDocument>;
  status(): Promise<NodeStatusDocument>;
  /** Reads everything through from now on, or goes on with it. */
  startScrub(): Promise<IntegrityDocument>;
  luns(): Promise<LunDocument[]>;
  /** Makes the disk of a client that is about to boot ready, where this node serves it. */
  beginBoot(client: string): Promise<BeginBootDocument>;
  /** What a node's copy of a portal group lacks; reading it through begins with that. @throws OperationError */
  readCopy(nodeId: string, group: string): Promise<CopyReadingDocument>;
  readonly content: HeldContent;
  readonly membership: MembershipServices;
}

/** Lets nodes in. */
export interface MembershipServices {
  /** Wall clock, for what is recorded of changes. */
  nowMs(): number;
  /** @throws OperationError */
  createJoinToken(
    lifetimeMs: number,
    by: string,
  ): Promise<{ readonly id: string; readonly token: string; readonly expiresAt: string }>;
  /** What a host is to compare with its token before it says anything. */
  authority(): Promise<{ readonly clusterId: string; readonly certificate: string }>;
  /** @throws OperationError when the token or the request is no good */
  join(request: JoinRequestDocument): Promise<JoinAnswerDocument>;
}

export interface ImportRequest {
  readonly name: string;
  /** Exactly sizeBytes bytes, or it throws. */
  readonly source: AsyncIterable<Uint8Array>;
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

/** What other nodes may fetch from this one; undefined when it is not held here. */
export interface HeldContent {
  imageManifest(name: string, version: number): Promise<Uint8Array | undefined>;
  imageChunk(name: string, version: number, index: number): Promise<Uint8Array | undefined>;
  bootFile(name: string, sha256: string): Promise<Uint8Array | undefined>;
}
