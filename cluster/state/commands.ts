import type {
  ChapCredentials,
  DirectoryLife,
  NodeEndpoints,
  NodeId,
  PortalGroupId,
  RetiredCopy,
  WorkerEndpoints,
} from './model.ts';

/**
 * Everything that can change the replicated configuration. A command carries all it needs, the time
 * included, so that applying it is deterministic. One that no longer fits is refused, changing nothing.
 */
export type Command =
  /** A node has started: its earlier incarnation's in-sync memberships end, but for a group's last one. */
  | {
      readonly type: 'registerNode';
      readonly nodeId: NodeId;
      readonly incarnation: string;
      readonly endpoints: NodeEndpoints;
      /** Of each portal group it keeps a copy of, the id of the directory that holds it. */
      readonly disks?: Readonly<Record<PortalGroupId, string>>;
      /** The run of its host's kernel. Since version 6 of the configuration, as is what follows. */
      readonly boot?: string;
      /** Of portal groups, the copies that it has put out of the way. */
      readonly retired?: Readonly<Record<PortalGroupId, readonly RetiredCopy[]>>;
      /** The newest version of the configuration that its program knows; see versions.ts. Absent: the first. */
      readonly stateVersion?: number;
      /** Of each of its data-plane workers beyond the first. Since version 4 of the configuration. */
      readonly workers?: readonly WorkerEndpoints[];
      /** Of these directories, the lives that this process has begun. Since version 8 of the configuration. */
      readonly lives?: Readonly<Record<PortalGroupId, DirectoryLife>>;
    }
  /** The leader has lost a node: from this one entry follow the new primaries of all its groups. */
  | {
      readonly type: 'fenceNode';
      readonly nodeId: NodeId;
      readonly incarnation: string;
      readonly reason: string;
    }
  /** Compare-and-set on the epoch, proposed by the group's primary. The last member is never removed. */
  | {
      readonly type: 'shrinkInSync';
      readonly group: PortalGroupId;
      readonly epoch: number;
      readonly primary: NodeId;
      readonly remove: NodeId;
    }
  | {
      readonly type: 'expandInSync';
      readonly group: PortalGroupId;
      readonly epoch: number;
      readonly primary: NodeId;
      readonly add: NodeId;
      readonly incarnation: string;
    }
  /**
   * Compare-and-set on the epoch, proposed by the group's primary, whose own disk takes nothing any more: it leaves the in-sync
   * set, and one of the others leads. Since version 12 of the configuration.
   */
  | {
      readonly type: 'handOverGroup';
      readonly group: PortalGroupId;
      readonly epoch: number;
      readonly primary: NodeId;
    }
  /** A node has opened the directory of a portal group that it has not told of, or of no life of it. */
  | {
      readonly type: 'identifyDisk';
      readonly nodeId: NodeId;
      readonly incarnation: string;
      readonly group: PortalGroupId;
      readonly disk: string;
      /** Since version 8 of the configuration. */
      readonly life?: DirectoryLife;
    }
  /** An administrator gives up what only lost copies hold: the group goes on from this node's. */
  | {
      readonly type: 'startGroupFrom';
      readonly group: PortalGroupId;
      readonly epoch: number;
      readonly nodeId: NodeId;
      readonly atMs: number;
      readonly by: string;
    }
  | {
      readonly type: 'addImageVersion';
      readonly image: string;
      readonly sizeBytes: number;
      readonly chunkSizeBytes: number;
      readonly manifestSha256: string;
      readonly holder: NodeId;
      readonly atMs: number;
    }
  /** Of version 11. */
  | {
      readonly type: 'removeImageVersion';
      readonly image: string;
      readonly version: number;
      /** As it was when those that serve disks were asked whether one is over it: no disk had this number or a higher one. */
      readonly nextLunId: number;
      /** The nodes that there were then. */
      readonly nodes: readonly NodeId[];
      readonly atMs: number;
      readonly by: string;
    }
  | { readonly type: 'imageHeld'; readonly image: string; readonly version: number; readonly holder: NodeId }
  | {
      readonly type: 'addClient';
      readonly name: string;
      readonly macs: readonly string[];
      readonly image: string;
      readonly imageVersion?: number;
      readonly writeCache: 'discard' | 'keep';
      /** Absent: the next free one of the range, where addresses are handed out. */
      readonly address?: string;
      /** Absent: the group with the fewest clients. */
      readonly portalGroup?: PortalGroupId;
      readonly chap?: ChapCredentials;
      readonly sources?: readonly string[];
      /** Since version 3 of the configuration. */
      readonly multipath?: boolean;
    }
  /** revoke: what was good before is not any more, for a system that runs either. */
  | {
      readonly type: 'setClientChap';
      readonly name: string;
      readonly credentials: ChapCredentials | null;
      readonly revoke: boolean;
    }
  /** The client boots anew: only its newest credentials are good now. */
  | { readonly type: 'settleClientChap'; readonly name: string }
  /** None: from anywhere. */
  | { readonly type: 'setClientSources'; readonly name: string; readonly sources: readonly string[] }
  /** Whether its disk is shown at every node that keeps a copy. Since version 3 of the configuration. */
  | { readonly type: 'setClientMultipath'; readonly name: string; readonly enabled: boolean }
  | { readonly type: 'removeClient'; readonly name: string }
  | {
      readonly type: 'addBootFile';
      readonly name: string;
      readonly sizeBytes: number;
      readonly sha256: string;
      readonly holder: NodeId;
    }
  /** Of version 7. */
  | { readonly type: 'removeBootFile'; readonly name: string; readonly atMs: number; readonly by: string }
  | {
      readonly type: 'bootFileHeld';
      readonly name: string;
      readonly sha256: string;
      readonly holder: NodeId;
    }
  | MembershipCommand
  | PlacementCommand
  | PolicyCommand;

/** What administrators, and a node's own settings, say of how things are to be. All of version 2. */
export type PolicyCommand =
  /** What the node's own settings say; said whenever that differs from what is known. */
  | {
      readonly type: 'describeNode';
      readonly nodeId: NodeId;
      readonly incarnation: string;
      readonly weight?: number;
      readonly rack?: string;
    }
  /** What is absent stays as it is; `clear` names what the node's own settings say again. */
  | {
      readonly type: 'setNode';
      readonly nodeId: NodeId;
      readonly weight?: number;
      readonly rack?: string;
      readonly clear: readonly string[];
      readonly atMs: number;
      readonly by: string;
    }
  /** What is absent stays as it is. */
  | {
      readonly type: 'setCluster';
      readonly replicasPerGroup?: number;
      readonly rebalance?: 'on' | 'off';
      readonly rebalanceDelayMs?: number;
      readonly replaceAfterMs?: number;
      /** Of version 9. */
      readonly catchUpBytesPerSecond?: number;
      readonly atMs: number;
      readonly by: string;
    }
  | {
      readonly type: 'addPortalGroup';
      readonly group: PortalGroupId;
      readonly address: string;
      readonly port: number;
      /** Absent: as placement would have them. */
      readonly replicas?: readonly NodeId[];
      /** Also at the address of a node that was removed. Of version 7. */
      readonly ofFormerNode?: boolean;
      readonly atMs: number;
      readonly by: string;
    }
  /** One that no client has its disk in. */
  | {
      readonly type: 'removePortalGroup';
      readonly group: PortalGroupId;
      readonly atMs: number;
      readonly by: string;
    }
  | {
      readonly type: 'setPortalGroup';
      readonly group: PortalGroupId;
      readonly minInSync?: number;
      readonly durability?: 'write-back' | 'durable';
      readonly atMs: number;
      readonly by: string;
    };

/** What administrators do to the membership. `by` is whose word it was: the id of a token. */
export type MembershipCommand =
  | {
      readonly type: 'createJoinToken';
      readonly id: string;
      /** SHA-256 of the secret, hexadecimal. */
      readonly secretSha256: string;
      readonly expiresAtMs: number;
      readonly atMs: number;
      readonly by: string;
    }
  | { readonly type: 'revokeJoinToken'; readonly id: string; readonly atMs: number; readonly by: string }
  /** Uses a join token up. Sent again by the same node with the same key it is answered alike. */
  | {
      readonly type: 'addNode';
      readonly nodeId: NodeId;
      readonly endpoints: NodeEndpoints;
      readonly secretSha256: string;
      /** SHA-256 of the new node's public key. */
      readonly keySha256: string;
      readonly atMs: number;
    }
  | { readonly type: 'drainNode'; readonly nodeId: NodeId; readonly atMs: number; readonly by: string }
  | { readonly type: 'undrainNode'; readonly nodeId: NodeId; readonly atMs: number; readonly by: string }
  /** `replacement` takes the place of `nodeId` in every portal group. */
  | {
      readonly type: 'replaceNode';
      readonly nodeId: NodeId;
      readonly replacement: NodeId;
      readonly atMs: number;
      readonly by: string;
    }
  /** For good: the id is never given again. Refused while data would be lost or is still to be moved. */
  | { readonly type: 'removeNode'; readonly nodeId: NodeId; readonly atMs: number; readonly by: string };

/** What is remembered of a change of placement; absent: nothing. Of version 2. */
interface Remembered {
  readonly atMs?: number;
  readonly why?: string;
}

/** Where portal groups are; each compares the epoch. */
export type PlacementCommand =
  /** To another in-sync member. */
  | ({
      readonly type: 'moveGroup';
      readonly group: PortalGroupId;
      readonly epoch: number;
      readonly to: NodeId;
    } & Remembered)
  /** A node begins to keep a copy; it joins the in-sync set when it has caught up. */
  | ({
      readonly type: 'addReplica';
      readonly group: PortalGroupId;
      readonly epoch: number;
      readonly add: NodeId;
      /** The copy that goes then. Of version 2. */
      readonly insteadOf?: NodeId;
    } & Remembered)
  /** Not the primary, nor one that the group cannot do without. */
  | ({
      readonly type: 'dropReplica';
      readonly group: PortalGroupId;
      readonly epoch: number;
      readonly drop: NodeId;
    } & Remembered);

export type CommandResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: CommandRefusal };

/** Becomes an OperationError where a person asked. */
export interface CommandRefusal {
  readonly kind: 'invalid' | 'not-found' | 'conflict';
  readonly code: string;
  readonly message: string;
  readonly got?: unknown;
  readonly accepted?: string;
}
