import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const DEMO = 'dist/scripts/demo.js';

function runDemo(args: readonly string[]): Promise<{ status: number | null; output: string }> {
  if (!existsSync(DEMO)) throw new Error(`${DEMO} is not there: run npm run build`);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [DEMO, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString();
      });
    }
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}

describe('the demo', () => {
  it('kills the serving node, loses nothing and reboots pristine', { timeout: 180_000 }, async () => {
    const { status, output } = await runDemo(['--clients', '3', '--seconds', '6']);
    expect(status, output).toBe(0);
    const [, acknowledged, lost, moved] =
      /(\d+) writes acknowledged, (\d+) lost; (\d+) clients moved/.exec(output) ?? [];
    expect(Number(acknowledged)).toBeGreaterThan(100);
    expect(lost).toBe('0');
    expect(Number(moved)).toBeGreaterThan(0);
    expect(output.match(/^pc\d .* pristine$/gm)).toHaveLength(3);
  });

  it('says what an option accepts', async () => {
    expect(await runDemo(['--clients', '0'])).toEqual({
      status: 1,
      output: 'demo: --clients 0: a whole number from 1 to 64 is accepted\n',
    });
  });
});
