import { SlabMemory } from '../../base/slab-memory.ts';
import { MAX_FREE_SLABS, RECORD_SLAB_BYTES } from './limits.ts';

/** Memory for the records of one portal group on their way into the log. */
export class RecordMemory extends SlabMemory {
  constructor() {
    super(RECORD_SLAB_BYTES, MAX_FREE_SLABS);
  }
}
