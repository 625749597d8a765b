import { type Sense, sense } from './sense.ts';

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

/** The ways there are to a target, as one of them has it. */
export interface TargetPaths {
  /** The port that a session came by: the tag of its group, which has no other port, and its relative identifier. */
  readonly ownPort: number;
  /** All of them, this one included. */
  groups(): readonly TargetPortGroup[];
  /** The access state of this one: what the group of `ownPort` has. Asked with every command. */
  ownState(): AccessState;
}

/** Relative identifiers of all ports of the target. */
export function targetPorts(paths: Pick<TargetPaths, 'groups'>): readonly number[] {
  return paths.groups().flatMap((group) => group.ports);
}

const SINGLE_PORT_GROUP: readonly TargetPortGroup[] = [
  { tag: 1, state: accessState.activeOptimized, preferred: true, ports: [1] },
];

/** What there is where a target has one way to it. */
export const SINGLE_PATH: TargetPaths = {
  ownPort: 1,
  groups: () => SINGLE_PORT_GROUP,
  ownState: () => accessState.activeOptimized,
};

/** Why a path may not carry most commands (SPC-4 §5.15.2.4); undefined when it may. */
export function inactiveSense(paths: TargetPaths): Sense | undefined {
  switch (paths.ownState()) {
    case accessState.standby:
      return sense.portInStandby;
    case accessState.unavailable:
      return sense.portUnavailable;
    case accessState.transitioning:
      return sense.stateTransition;
    case accessState.activeOptimized:
    case accessState.activeNonOptimized:
      return undefined;
  }
}
