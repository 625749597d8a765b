import type { MessagePort } from 'node:worker_threads';
import type { PeerIdentity } from '../../base/peer-transport.ts';
import type { Command } from '../../cluster/state/commands.ts';
import type { ClusterState, WorkerEndpoints } from '../../cluster/state/model.ts';
import type { ImagePart, ImageVersionRef } from '../../storage/image/image-source.ts';
import type { ProposalOutcome } from '../../storage/replication/group-state.ts';
import type { IntegrityStatus } from './integrity.ts';

/** Messages between the main thread and a data-plane worker; all of them survive structured clone. */

/** What a worker is started with. */
export interface WorkerConfig {
  /** Its number. The first, 0, has the guardian. */
  readonly worker: number;
  /** Where each of the node's workers is, this one included. */
  readonly workers: readonly WorkerEndpoints[];
  /** Memory of the workers' common NodeTally. */
  readonly tally: SharedArrayBuffer;
  /** Memory of their WorkerShares. */
  readonly shares: SharedArrayBuffer;
  /** Of the first: where each of the others asks for addresses, in order. Of another: where the first is. */
  readonly guardianPorts: readonly MessagePort[];
  readonly nodeId: string;
  readonly clusterId: string;
  readonly incarnation: string;
  readonly logLevel: string;
  readonly groupsDirectory: string;
  readonly imagesDirectory: string;
  /** Where is noted how far reading everything through is. */
  readonly scrubFile: string;
  /** Interface that carries movable addresses; null on loopback. */
  readonly portalInterface: string | null;
  readonly imageCacheBytes: number;
  /** Commands that one session may have outstanding. */
  readonly queueDepth: number;
  /** For what initiators have under way. */
  readonly sessionBytes: number;
  /** All movable addresses of the cluster; none of them may be on this node at its start. */
  readonly portalAddresses: readonly string[];
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** For the guardian alone; see node/peer/last-word.ts. */
  readonly lastWord: Uint8Array;
  readonly peers: readonly { readonly nodeId: string; readonly host: string; readonly port: number }[];
}

export type ToWorker =
  | { readonly type: 'state'; readonly state: ClusterState }
  | { readonly type: 'request'; readonly id: number; readonly request: WorkerRequest }
  /** That process has surely ended. */
  | { readonly type: 'ended'; readonly peer: PeerIdentity }
  | { readonly type: 'proposed'; readonly id: number; readonly outcome: ProposalOutcome }
  /** Whether that part is as it should be now. */
  | { readonly type: 'mended'; readonly id: number; readonly isMended: boolean }
  | { readonly type: 'stop' };

export type WorkerRequest =
  | { readonly method: 'beginBoot'; readonly client: string }
  | { readonly method: 'status' }
  /** What this node's copy of a group lacks; begins to read it through. */
  | { readonly method: 'readCopy'; readonly group: string }
  /** Which disks that are served here are over an image version; see data-plane. */
  | { readonly method: 'imageUse'; readonly image: ImageVersionRef }
  /** Read everything through now. */
  | { readonly method: 'scrub' }
  /** Answered once everything that was served here is served elsewhere, or has been waited for long enough. */
  | { readonly method: 'handedOver' };

/** The disks of one portal group that are over an image version, as its primary knows. */
export interface ImageUse {
  readonly group: string;
  readonly lunIds: readonly number[];
}

export type FromWorker =
  | { readonly type: 'ready' }
  /** Sent often: this thread's event loop turns. */
  | { readonly type: 'beat' }
  | { readonly type: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly type: 'answer-failed'; readonly id: number; readonly reason: string }
  | { readonly type: 'propose'; readonly id: number; readonly command: Command }
  /** A part of an image is damaged on this node's disk. */
  | { readonly type: 'mend'; readonly id: number; readonly image: ImageVersionRef; readonly part: ImagePart }
  /** Final: the process must end. */
  | { readonly type: 'fatal'; readonly cause: FatalCause; readonly reason: string }
  | { readonly type: 'stopped' };

/** start: it cannot run as configured. storage: a disk failed. bug: we are wrong. */
export type FatalCause = 'start' | 'storage' | 'bug';

export type BeginBootAnswer =
  | { readonly kind: 'ready' }
  /** This node does not serve the client's portal group (any more). */
  | { readonly kind: 'not-serving' }
  | { readonly kind: 'refused'; readonly reason: string };

export interface DataPlaneStatus {
  readonly groups: readonly PortalGroupStatus[];
  readonly sessions: readonly SessionStatus[];
  readonly luns: readonly LunStatus[];
  readonly integrity: IntegrityStatus;
  readonly counters: Readonly<Record<string, number>>;
}

export interface PortalGroupStatus {
  readonly id: string;
  readonly role: string;
  readonly epoch: number;
  readonly serving: boolean;
  readonly listening: boolean;
  readonly commitIndex: number;
  readonly nextIndex: number;
  /** The replica being brought up to date and how far it is, in words. */
  readonly catchUp: {
    readonly nodeId: string;
    readonly detail: string;
    readonly bytesPerSecond: number;
    readonly paceBytesPerSecond: number;
    readonly limitBytesPerSecond: number;
    readonly percent: number;
    /** null: it is not getting nearer just now. */
    readonly secondsLeft: number | null;
  } | null;
  /** What is short of the disks of its logs, in words; null: nothing. */
  readonly room: string | null;
  /** Which of its members are slow and what comes of it, in words; null: none is. */
  readonly slow: string | null;
}

export interface SessionStatus {
  /** "" in a discovery session. */
  readonly target: string;
  readonly initiator: string;
  readonly remote: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

export interface LunStatus {
  readonly lunId: number;
  readonly portalGroup: string;
  readonly image: string;
  readonly imageVersion: number;
  readonly lengthBlocks: number;
  readonly writtenBytes: number;
}
