import { describe, expect, it } from 'vitest';
import { statusText } from '../../../../api/cli/commands/status.ts';
import type { NodeStatusDocument } from '../../../../api/contract/status.ts';
import { SAMPLE_STATUS } from '../../../support/fake-node-services.ts';

const refetching = (refetch: NonNullable<NodeStatusDocument['cluster']['refetch']>): NodeStatusDocument => ({
  ...SAMPLE_STATUS,
  cluster: { ...SAMPLE_STATUS.cluster, refetch },
});

describe('the status of a node that has lost data', () => {
  it('says so, why, how far it is and whom it waits for', () => {
    const reason = 'the record at 48 is damaged';
    const begun = statusText(
      refetching({ reason, receivedBytes: 0, totalBytes: 0, waitingFor: ['n2', 'n3'] }),
    );
    expect(begun).toContain(`ALARM, n1 has lost data and takes no part`);
    expect(begun).toContain(reason);
    expect(begun).toContain('It has fetched nothing yet, and has to hear from n2, n3\n');
    const further = statusText(refetching({ reason, receivedBytes: 5, totalBytes: 9, waitingFor: [] }));
    expect(further).toContain('It has fetched 5 of 9 bytes\n');
  });

  it('is not that of one that has not', () => {
    expect(statusText(SAMPLE_STATUS)).not.toContain('lost data');
  });
});
