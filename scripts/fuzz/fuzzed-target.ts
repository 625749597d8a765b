import { silentLogger } from '../../base/logger.ts';
import { MemoryDevice } from '../../test/unit/node/iscsi/memory-device.ts';
import { grant, INITIATOR, startTarget, TARGET } from '../../test/unit/node/iscsi/target-fixture.ts';
import type { FuzzOptions } from './iscsi-fuzzer.ts';
import { CHAP_TARGET } from './iscsi-sequence.ts';

const FUZZED_BLOCKS = 1024;
const SETTLE_POLL_MS = 5;

/** A target in this process: a disk for the malformed PDUs, the same behind CHAP, and one for the bystander. */
export async function startFuzzedTarget(
  bystanderDisk = new MemoryDevice(FUZZED_BLOCKS),
): Promise<Pick<FuzzOptions, 'host' | 'port' | 'bystander' | 'settled'> & { close(): Promise<void> }> {
  const target = await startTarget({ lengthBlocks: FUZZED_BLOCKS, logger: silentLogger });
  const credentials = [{ username: 'fuzz', secret: 'aSecretNumber1' }];
  target.decide = async ({ targetName }) => {
    if (targetName === TARGET) return grant(new Map([[0, bystanderDisk]]));
    const granted = grant(new Map([[0, target.device]]), targetName);
    const authentication = { credentials, optional: false };
    return targetName === CHAP_TARGET ? { ...granted, authentication } : granted;
  };
  return {
    host: target.host,
    port: target.port,
    bystander: { initiatorName: INITIATOR, targetName: TARGET },
    settled: async () => {
      while (target.portal.sessions().length > 1) {
        await new Promise((resolve) => setTimeout(resolve, SETTLE_POLL_MS));
      }
    },
    close: () => target.portal.close(),
  };
}
