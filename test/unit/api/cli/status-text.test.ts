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

describe('the status of nodes that were removed', () => {
  it('names those that are to run on', () => {
    const cluster = { ...SAMPLE_STATUS.cluster, removedVoters: ['n8', 'n9'] };
    const text = 'until enough of them are in touch: n8, n9\n';
    expect(statusText({ ...SAMPLE_STATUS, cluster })).toContain(text);
    expect(statusText(SAMPLE_STATUS)).not.toContain('to run on');
  });
});

describe('the status of slow copies of portal groups', () => {
  it('is an alarm where there are any', () => {
    expect(statusText(SAMPLE_STATUS)).toContain(
      'ALARM, slow copies of portal groups:\n  pg1: n3 was taken out of the in-sync set for being slow',
    );
    const portalGroups = SAMPLE_STATUS.portalGroups.map((group) => ({ ...group, slow: null }));
    expect(statusText({ ...SAMPLE_STATUS, portalGroups })).not.toContain('slow');
  });
});

describe('the status of the placement of portal groups', () => {
  const placed = (placement: Partial<NodeStatusDocument['placement']>): string =>
    statusText({ ...SAMPLE_STATUS, placement: { ...SAMPLE_STATUS.placement, ...placement } });

  it('says what is done, what comes next and why, what that waits for, and what is not as it ought to be', () => {
    const text = placed({ doing: ['the copy of portal group pg1 on n1 moves to n4, which is catching up'] });
    expect(text).toContain(
      'Under way: the copy of portal group pg1 on n1 moves to n4, which is catching up\n',
    );
    expect(text).toContain('Next: portal group pg2 moves from n1 to n2, since n1 leads 2 by weight 1');
    expect(text).toContain('Before anything is moved for balance: 12 more of 30 s of calm\n');
    expect(text).toContain('WARNING: portal group pg1 has copies that share a rack');
  });

  it('says nothing where all is well, and that rebalancing is off where it is', () => {
    const well = { doing: [], next: null, waitingFor: null, warnings: [] };
    expect(placed(well)).not.toMatch(/Under way|Next|Before|WARNING|alanc/);
    expect(placed({ ...well, rebalance: 'off' })).toContain('Rebalancing is off');
  });
});
