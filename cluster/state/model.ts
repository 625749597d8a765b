/**
 * The replicated configuration: plain data, the same on every node at the same applied index.
 * Only commands in the cluster log change it (commands.ts); apply.ts is the pure function that does.
 */

export type NodeId = string;
export type PortalGroupId = string;

export interface ClusterState {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly settings: ClusterSettings;
  readonly nodes: Readonly<Record<NodeId, NodeRecord>>;
  readonly images: Readonly<Record<string, ImageRecord>>;
  readonly clients: Readonly<Record<string, ClientRecord>>;
  readonly portalGroups: Readonly<Record<PortalGroupId, PortalGroupRecord>>;
  /** Network boot programs an administrator uploaded, by file name. */
  readonly bootFiles: Readonly<Record<string, BootFileRecord>>;
  readonly tokens: readonly TokenRecord[];
  /** Nodes that have left. Neither their ids nor their Raft ids are ever given again. */
  readonly removedNodes: Readonly<Record<NodeId, RemovedNodeRecord>>;
  readonly nextRaftId: number;
  /** By the token's id. */
  readonly joinTokens: Readonly<Record<string, JoinTokenRecord>>;
  /** What administrators have done to the membership; the newest last, the oldest forgotten. */
  readonly audit: readonly AuditRecord[];
  /** Ids of portal groups that were removed, which are never given again. Absent: none. */
  readonly removedPortalGroups?: readonly PortalGroupId[];
  /** LUN numbers are never reused, so that no old record can be taken for a new client's. */
  readonly nextLunId: number;
  /** What every member must know of; see versions.ts. Absent: the first. */
  readonly stateVersion?: number;
}

export interface ClusterSettings {
  readonly dhcp: DhcpSettings;
  /** Prefix of every target and initiator name, as "iqn.2026-11.net.bootfabric:lab". */
  readonly iqnPrefix: string;
  /** A node the leader has not heard from for this long is fenced. */
  readonly fenceAfterMs: number;
  /** How long a backup's grant to its primary lasts. */
  readonly leaseMs: number;
  /** Nodes that are to hold a copy of each portal group, where there are as many. Default 3. */
  readonly replicasPerGroup?: number;
  /** off: copies and primaries stay where they are, but for what a leaving or lost node makes needful. Default on. */
  readonly rebalance?: 'on' | 'off';
  /** How long the cluster must have been calm before groups are moved for the sake of balance. */
  readonly rebalanceDelayMs?: number;
  /** How long a node may be down before its copies are made anew on others. */
  readonly replaceAfterMs?: number;
  /**
   * Of each portal group, what its primary sends to all members together that catch up, at most. Default and bounds in limits.ts.
   * Since version 9.
   */
  readonly catchUpBytesPerSecond?: number;
}

export interface DhcpSettings {
  /** off: not served; proxy: boot information only, beside the site's own server; full: addresses too. */
  readonly mode: 'off' | 'proxy' | 'full';
  /** full only: the subnet served and the range from which a new client is given its address. */
  readonly subnet?: string;
  readonly rangeStart?: string;
  readonly rangeEnd?: string;
  readonly router?: string;
  readonly dnsServers?: readonly string[];
  readonly leaseSeconds: number;
}

export interface NodeRecord {
  readonly nodeId: NodeId;
  /** The id Raft knows this member by. */
  readonly raftId: number;
  /** "" until the node's first start. */
  readonly incarnation: string;
  /** Of each portal group it keeps a copy of, the id of the directory that holds it. */
  readonly disks?: Readonly<Record<PortalGroupId, string>>;
  /** Of these directories, the life in which its process has them open; see lives.ts. */
  readonly lives?: Readonly<Record<PortalGroupId, string>>;
  /** new: never started. up: its word counts. fenced: it does not, until it registers again. */
  readonly status: 'new' | 'up' | 'fenced';
  readonly endpoints: NodeEndpoints;
  /** What names the present run of its host's kernel: while it is the same, what is in the page cache is still there. */
  readonly boot?: string;
  /** Of each data-plane worker of the process that has registered, beyond the first; see data-plane-workers.ts. */
  readonly workers?: readonly WorkerEndpoints[];
  /** It is to lead nothing: leadership and portal groups move away, and none come to it. */
  readonly draining?: true;
  /** The node that takes its place in every portal group, after which this one is removed. */
  readonly replacedBy?: NodeId;
  /** The newest version of the configuration that its program knows; see versions.ts. Absent: the first. */
  readonly stateVersion?: number;
  /** What its own settings say of it. */
  readonly described?: NodePlacement;
  /** What an administrator says of it, which counts instead. */
  readonly assigned?: NodePlacement;
}

/** How much a node is to hold, and what fails along with it; see node-placement.ts for what counts. */
export interface NodePlacement {
  /** Its share of copies and primaries beside the weights of the others. */
  readonly weight?: number;
  /** What it shares a fate with: its rack, its room, its power supply. */
  readonly rack?: string;
}

export interface RemovedNodeRecord {
  readonly nodeId: NodeId;
  readonly raftId: number;
  readonly removedAtMs: number;
  /** IPv4 addresses that it had last, which its host may have still. Absent: removed before version 7 of the configuration. */
  readonly addresses?: readonly string[];
  /** Where it was, since it may have a vote still. Absent: removed before version 10 of the configuration. */
  readonly endpoints?: NodeEndpoints;
}

/** Lets one new node in, once. */
export interface JoinTokenRecord {
  readonly id: string;
  /** SHA-256 of the token's secret (hex); the secret itself is nowhere. */
  readonly secretSha256: string;
  readonly expiresAtMs: number;
  /** Who has joined by it; a repeated request of the same node with the same key is answered alike. */
  readonly usedBy?: { readonly nodeId: NodeId; readonly keySha256: string };
}

export interface AuditRecord {
  readonly atMs: number;
  /** What was done, kebab-case, as "node-removed". */
  readonly event: string;
  /** To what, and by whose word. */
  readonly detail: string;
}

/** Fixed addresses of one node, each "HOST:PORT". */
export interface NodeEndpoints {
  readonly peer: string;
  readonly replication: string;
  readonly api: string;
  readonly http: string;
  readonly tftp: string;
  /** The portal at the node's own address, which only redirects to movable ones. */
  readonly iscsi: string;
}

/** Where one more data-plane worker of a node is, each "HOST:PORT"; the first is at the node's own endpoints. */
export interface WorkerEndpoints {
  readonly replication: string;
  readonly iscsi: string;
}

export interface ImageRecord {
  readonly name: string;
  /** By number. None once all have been removed. */
  readonly versions: readonly ImageVersionRecord[];
  /** Once a version has been removed: the highest number that any had by then. Since version 11 of the configuration. */
  readonly lastVersion?: number;
}

export interface ImageVersionRecord {
  readonly version: number;
  readonly sizeBytes: number;
  readonly chunkSizeBytes: number;
  /** SHA-256 of the manifest (hex), which lists the SHA-256 of every chunk. */
  readonly manifestSha256: string;
  /** Nodes that hold every chunk, verified. */
  readonly holders: readonly NodeId[];
  readonly createdAtMs: number;
}

export interface ClientRecord {
  readonly name: string;
  /** Canonical spelling, lower case with colons. */
  readonly macs: readonly string[];
  readonly image: string;
  /** Absent: the newest version at each boot. */
  readonly imageVersion?: number;
  readonly writeCache: 'discard' | 'keep';
  readonly portalGroup: PortalGroupId;
  readonly lunId: number;
  /** full DHCP: the address reserved for it. */
  readonly address?: string;
  readonly targetName: string;
  readonly initiatorName: string;
  /** Absent: its initiator need not authenticate. Holds secrets: never listed, shown or logged as it is. */
  readonly chap?: ClientChap;
  /** IPv4 addresses and subnets its initiator may come from; absent: any. */
  readonly sources?: readonly string[];
  /** Its disk is shown at the portals of all nodes that keep a copy, for an initiator with several paths to it. */
  readonly multipath?: true;
}

export interface ClientChap {
  /** What the client is given at its next boot; null: it need not authenticate. */
  readonly current: ChapCredentials | null;
  /** Good as well until that boot, since the system that runs now has these; null: no authentication. */
  readonly previous?: ChapCredentials | null;
}

/** CHAP needs the secrets themselves, on both sides (RFC 7143 §12.1.3). */
export interface ChapCredentials {
  readonly username: string;
  readonly secret: string;
  /** The target's own, by which it proves itself to the initiator. */
  readonly mutual?: { readonly username: string; readonly secret: string };
}

export interface PortalGroupRecord {
  readonly id: PortalGroupId;
  /** The movable portal address and port. */
  readonly address: string;
  readonly port: number;
  /** Rises by one with every change of primary, in-sync set or replicas. */
  readonly epoch: number;
  /** Undefined while no in-sync member is up. */
  readonly primary?: NodeId;
  readonly inSync: readonly InSyncMember[];
  readonly replicas: readonly NodeId[];
  /** Added while the cluster ran, and led by nobody yet: its copies have still to say which directories they are in. */
  readonly founding?: true;
  /** A copy that is being moved: once the new one is in sync the old one goes. */
  readonly moving?: { readonly from: NodeId; readonly to: NodeId };
  /** The epoch in which an administrator last had it start from a copy that may have lacked writes. */
  readonly lossAcceptedEpoch?: number;
  /** The epoch in which it last went on from a copy that had left the set, without a loss; see succession.ts. */
  readonly resumedEpoch?: number;
  /** Members that left; see departed.ts. */
  readonly departed?: readonly DepartedMember[];
  /** The copy of the last in-sync member, where its node has put it out of use. */
  readonly retired?: RetiredCopy;
  /** Writes stall while fewer members than this are in sync. */
  readonly minInSync: number;
  readonly durability: 'write-back' | 'durable';
}

export interface InSyncMember {
  readonly nodeId: NodeId;
  /** "" only in a new cluster, before the member's first start. */
  readonly incarnation: string;
  /** The directory that holds its copy; absent where the node does not tell its directories apart. */
  readonly disk?: string;
  /** The life of that directory; see lives.ts. Absent: not told, as by nodes before version 8 of the configuration. */
  readonly life?: string;
  /** The run of its host's kernel; see NodeRecord. */
  readonly boot?: string;
}

/**
 * A member that is in sync no more. Its copy has all that was acknowledged in epochs before the one in which it left.
 */
export interface DepartedMember {
  readonly nodeId: NodeId;
  readonly disk: string;
  /** The latest life of that directory as it left. */
  readonly life?: string;
  /** As it was in sync; "" where a later process could not say in which run of the kernel it was. */
  readonly boot: string;
  /** The first epoch without it. */
  readonly epoch: number;
  /** The directory over which every primary since then was: whatever was acknowledged since is in that copy. */
  readonly under: string;
  /** Its host's kernel has ended since, and with it what was not on stable storage. */
  readonly lostPower?: true;
  /** The same of the host of the copy that it left the set to. */
  readonly successorLostPower?: true;
}

/** A copy that its node has put out of the way, since it is damaged, and opens no more. */
export interface RetiredCopy {
  readonly disk: string;
  /** What the cluster may know that directory by. Since version 8 of the configuration. */
  readonly lives?: readonly string[];
  /** No process over this copy has said or acknowledged anything in an epoch after this one. */
  readonly epoch: number;
  /** The process that put it away, and the one of its node that it knew to be registered: no later one has opened it. */
  readonly processes: readonly string[];
}

/** A life of a directory that a process has begun, and those that the directory may be known by still. */
export interface DirectoryLife {
  readonly life: string;
  readonly former: readonly string[];
}

export interface BootFileRecord {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly holders: readonly NodeId[];
}

export interface TokenRecord {
  readonly id: string;
  readonly role: 'administrator';
  /** SHA-256 of the token (hex); the token itself is nowhere. */
  readonly sha256: string;
}
