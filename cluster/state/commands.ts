import type { NodeEndpoints, NodeId, PortalGroupId } from './model.ts';

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
  | {
      readonly type: 'addImageVersion';
      readonly image: string;
      readonly sizeBytes: number;
      readonly chunkSizeBytes: number;
      readonly manifestSha256: string;
      readonly holder: NodeId;
      readonly atMs: number;
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
    }
  | { readonly type: 'removeClient'; readonly name: string }
  | {
      readonly type: 'addBootFile';
      readonly name: string;
      readonly sizeBytes: number;
      readonly sha256: string;
      readonly holder: NodeId;
    }
  | {
      readonly type: 'bootFileHeld';
      readonly name: string;
      readonly sha256: string;
      readonly holder: NodeId;
    };

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
