/** Asymmetric access states (SPC-4 §5.15.2). */
export const accessState = {
  activeOptimized: 0x0,
  activeNonOptimized: 0x1,
  standby: 0x2,
  unavailable: 0x3,
  transitioning: 0xf,
} as const;

export type AccessState = (typeof accessState)[keyof typeof accessState];

/** A group of target ports that always have the same access state. */
export interface TargetPortGroup {
  /** TARGET PORT GROUP: in iSCSI the target portal group tag. */
  readonly tag: number;
  readonly state: AccessState;
  readonly preferred: boolean;
  /** Relative port identifiers of its ports. */
  readonly ports: readonly number[];
}

/** What there is where a target has one way to it. */
export const SINGLE_PORT_GROUP: readonly TargetPortGroup[] = [
  { tag: 1, state: accessState.activeOptimized, preferred: true, ports: [1] },
];
