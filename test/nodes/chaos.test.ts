import { expect, it } from 'vitest';
import { finishAsync } from '../../scripts/lab/process-run.ts';
import { describeWhere } from '../support/requirements.ts';

const TIMEOUT_MS = 170_000;

describeWhere(
  {
    root: true,
    commands: ['ip', 'mount', 'umount', 'sysctl', 'strace'],
    enableWith: 'as root: apt-get install iproute2 procps strace',
  },
  'chaos',
  () => {
    it('kills, stops, cuts off and wipes nodes, and loses nothing', {
      timeout: TIMEOUT_MS + 5000,
    }, async () => {
      const faults = 'SIGKILL,SIGSTOP,cut,one-way cut,wiped node';
      const args = ['--minutes', '0.4', '--seed', '7', '--clients', '4', '--only', faults, '--json'];
      const program = ['--enable-source-maps', 'dist/scripts/chaos.js', ...args];
      const { status, stdout, stderr } = await finishAsync(process.execPath, program, TIMEOUT_MS);
      expect(status, stderr).toBe(0);
      const result = JSON.parse(stdout) as Record<string, unknown> & {
        blocks: number;
        progress: { acknowledged: number; checked: number; checkedAtEnd: number };
      };
      expect(result['violations']).toEqual([]);
      expect(result['unexpectedEnds'], stderr).toEqual([]);
      expect(result['inflicted']).not.toHaveLength(0);
      expect(result.progress.acknowledged).toBeGreaterThan(500);
      expect(result.progress.checked).toBeGreaterThan(500);
      expect(result.progress.checkedAtEnd, 'every block was read at the end').toBe(result.blocks);
    });

    it('says which faults there are', async () => {
      const program = ['dist/scripts/chaos.js', '--only', 'flood'];
      const { status, stderr } = await finishAsync(process.execPath, program);
      expect(status).toBe(1);
      expect(stderr).toContain('--only flood: accepted are SIGKILL, restart, ');
    });
  },
);
