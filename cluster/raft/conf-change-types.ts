/** How a configuration change is spelled; its arithmetic is in conf-changer.ts, its bytes in conf-change-codec.ts. */

export type ConfChangeType = 'addNode' | 'removeNode' | 'updateNode' | 'addLearnerNode';

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  /** NO_NODE: a change that was refused by the application; it has no effect. */
  readonly nodeId: number;
}

/**
 * - auto: the simple protocol when one voter changes at most, else jointImplicit.
 * - jointImplicit: joint consensus, left by the leader on its own as soon as that is safe.
 * - jointExplicit: joint consensus, left when the application proposes a change with no changes in it.
 */
export type ConfChangeTransition = 'auto' | 'jointImplicit' | 'jointExplicit';

/** Any change of configuration. No changes and transition "auto": leave the joint configuration. */
export interface ConfChange {
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  /** Carried for the application, not looked at. */
  readonly context: Uint8Array;
}

/** A change of one node, carried by an entry of type "confChange". */
export interface SingleConfChange {
  readonly type: ConfChangeType;
  readonly nodeId: number;
  readonly context: Uint8Array;
}

/** What may be proposed: the type of the entry follows from the form. */
export type ProposedConfChange = ConfChange | SingleConfChange;
