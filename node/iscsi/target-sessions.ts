import type { BlockDevice } from '../../storage/block-device.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { UnitState, type UnitStateOptions } from '../scsi/unit-state.ts';
import type { Session } from './session.ts';

interface Target {
  readonly sessions: Set<Session>;
  /** What initiators share of a unit, by LUN; it lives as long as a session of the target does. */
  readonly units: Map<number, UnitState>;
  /** Commands of initiators whose sessions are elsewhere. */
  visitors: number;
}

/** What the sessions of each target share on this node, by whichever portal they came. */
export class TargetSessions {
  readonly #options: UnitStateOptions;
  readonly #targets = new Map<string, Target>();

  constructor(options: UnitStateOptions) {
    this.#options = options;
  }

  /** Those that have not ended to their last write. */
  of(targetName: string | undefined): Iterable<Session> {
    return (targetName === undefined ? undefined : this.#targets.get(targetName))?.sessions ?? [];
  }

  /** What is shared of a unit; whoever asks has a session join right after. */
  unit(targetName: string, lun: number, device: BlockDevice): UnitState {
    const { units } = this.#target(targetName);
    const unit = units.get(lun) ?? new UnitState(device, this.#options);
    units.set(lun, unit);
    return unit;
  }

  /**
   * A unit that an initiator has a session with, whatever its target: what it has logged in to it may copy from and to. An
   * active path counts more than another.
   */
  unitSeenBy(initiatorName: string, naa: Uint8Array): LogicalUnit | undefined {
    let found: LogicalUnit | undefined;
    for (const { sessions } of this.#targets.values()) {
      for (const session of sessions) {
        if (session.options.initiatorName !== initiatorName || session.isClosing) continue;
        for (const unit of session.options.units.values()) {
          if (Buffer.compare(unit.identity.naa, naa) !== 0) continue;
          if (unit.isActive) return unit;
          found ??= unit;
        }
      }
    }
    return found;
  }

  join(targetName: string, session: Session): void {
    this.#target(targetName).sessions.add(session);
  }

  leave(targetName: string, session: Session): void {
    const target = this.#targets.get(targetName);
    if (target === undefined) return;
    target.sessions.delete(session);
    this.#forgetIdle(targetName, target);
  }

  /** Works on what is shared of a unit for an initiator whose session is elsewhere. */
  async visit<T>(
    targetName: string,
    lun: number,
    device: BlockDevice,
    work: (unit: UnitState) => Promise<T>,
  ): Promise<T> {
    const target = this.#target(targetName);
    target.visitors++;
    try {
      return await work(this.unit(targetName, lun, device));
    } finally {
      target.visitors--;
      this.#forgetIdle(targetName, target);
    }
  }

  #forgetIdle(targetName: string, target: Target): void {
    if (target.sessions.size > 0 || target.visitors > 0) return;
    for (const [lun, unit] of target.units) if (unit.isIdle) target.units.delete(lun);
    if (target.units.size === 0) this.#targets.delete(targetName);
  }

  /** The access state of one of the target's paths has changed: every initiator is told. */
  accessChanged(targetName: string): void {
    for (const session of this.of(targetName)) {
      for (const unit of session.options.units.values()) unit.accessChanged();
    }
  }

  /** Stops what goes on without a session. */
  async close(): Promise<void> {
    const units = [...this.#targets.values()].flatMap((target) => [...target.units.values()]);
    await Promise.all(units.map((unit) => unit.close()));
  }

  #target(targetName: string): Target {
    let target = this.#targets.get(targetName);
    if (target === undefined) {
      target = { sessions: new Set(), units: new Map(), visitors: 0 };
      this.#targets.set(targetName, target);
    }
    return target;
  }
}
