import type { ScrubArea, ScrubbedPart } from '../scrub/scrubber.ts';
import type { PortalGroup } from './portal-group.ts';

/** This node's copy of a portal group, to be read through record by record. */
export class GroupScrub implements ScrubArea {
  readonly name: string;
  readonly #group: PortalGroup;

  constructor(groupId: string, group: PortalGroup) {
    this.name = `portal group ${groupId}`;
    this.#group = group;
  }

  get totalBytes(): number {
    return this.#group.logBytes();
  }

  fractionAt(cursor: number): number {
    const { firstIndex, commitIndex } = this.#group.status();
    return Math.max(0, cursor - firstIndex) / Math.max(1, commitIndex - firstIndex);
  }

  /** @param cursor number of the next record */
  async readPart(cursor: number, maxBytes: number): Promise<ScrubbedPart> {
    const { nextIndex, endIndex, readBytes } = await this.#group.verifyPart(cursor, maxBytes);
    return { next: nextIndex >= endIndex ? undefined : nextIndex, readBytes };
  }
}
