import { describe, expect, it } from 'vitest';
import type { Ipv4 } from '../../../base/ipv4.ts';
import { DEFAULT_PORTS, type NodeConfig } from '../../../node/config.ts';
import { furtherWorkers } from '../../../node/data-plane-size.ts';

const CORES = 4;
const config = (dataPlane?: NodeConfig['dataPlane']): Parameters<typeof furtherWorkers>[0] => ({
  address: '192.0.2.1' as Ipv4,
  ports: DEFAULT_PORTS,
  ...(dataPlane === undefined ? {} : { dataPlane }),
});

describe('the data-plane workers of a node', () => {
  it('are one where nothing is said', () => {
    expect(furtherWorkers(config(), CORES)).toEqual([]);
    expect(furtherWorkers(config({}), CORES)).toEqual([]);
  });

  it.each([
    [1, 1],
    [2, 1],
    [4, 3],
    [64, 8],
  ])('leave a core to the main thread where they are chosen: of %i, %i', (cores, count) => {
    expect(furtherWorkers(config({ workers: 'auto' }), cores)).toHaveLength(count - 1);
  });

  it('have two ports each, one after the other', () => {
    expect(furtherWorkers(config({ workers: 3, firstPort: 8000 }), CORES)).toEqual([
      { replication: '192.0.2.1:8000', iscsi: '192.0.2.1:8001' },
      { replication: '192.0.2.1:8002', iscsi: '192.0.2.1:8003' },
    ]);
    expect(furtherWorkers(config({ workers: 2 }), CORES)).toHaveLength(1);
  });

  it('are refused ports that something else has, or that there are not', () => {
    const refused = (dataPlane: NodeConfig['dataPlane']) => () => furtherWorkers(config(dataPlane), CORES);
    expect(refused({ workers: 3, firstPort: 7440 })).toThrow(
      expect.objectContaining({
        code: 'port-twice',
        message: expect.stringContaining('ports.api') as string,
      }),
    );
    expect(refused({ workers: 2, firstPort: 65_535 })).toThrow(
      expect.objectContaining({ code: 'bad-port', accepted: 'at most 65534 for 2 workers' }),
    );
    expect(refused({ workers: 2, firstPort: 65_534 })).not.toThrow();
    // Nobody else is there.
    expect(refused({ workers: 1, firstPort: 7443 })).not.toThrow();
  });
});
