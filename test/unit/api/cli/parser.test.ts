import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../support/cli-session.ts';

/** None of these gets as far as to ask a cluster. */
const cli = (...args: string[]) => runCommand(args, '/nowhere/admin.json');

describe('help', () => {
  it('begins with the host, goes on with the cluster and ends with disks and machines', async () => {
    const { code, out } = await cli('--help');
    expect(code).toBe(0);
    const headings = [...out.matchAll(/^(\S.*):$/gm)].map(([, heading]) => heading);
    expect(headings).toEqual([
      'Options',
      'On a host that is a node',
      'The cluster',
      'Disks, and the machines that boot from them',
      'Help',
    ]);
    for (const [group, command] of [
      ['On a host that is a node', 'start'],
      ['The cluster', 'portal-group'],
      ['Disks, and the machines that boot from them', 'client'],
    ] as const) {
      const commands = out.split(`${group}:\n`)[1]?.split('\n\n')[0];
      expect(commands).toMatch(new RegExp(`^ {2}${command} `, 'm'));
    }
  });

  it('of a command says what it does in a sentence, and which options all commands take', async () => {
    const { out } = await cli('client', 'add', '--help');
    expect(out).toContain('\nRegister a machine and give it a disk.\n');
    expect(out).toMatch(/^Global Options:\n {2}--profile <file> [^]*\n {2}--json /m);
    expect(out).not.toContain('--version');
    expect(out).toMatch(/--image <image> +the image it boots \(required\)\n/);
  });
});

describe('the version', () => {
  it('is printed alone', async () => {
    expect(await cli('--version')).toEqual({ code: 0, out: '1.2.3\n', err: '' });
  });
});

describe('wrong usage', () => {
  it.each([
    [['statsu'], 'bootfabric --help'],
    [['status', 'extra'], 'bootfabric status --help'],
    [['client', 'ad'], 'bootfabric client --help'],
    [['--node', 'n1', 'client', 'add', 'pc1'], 'bootfabric client add --help'],
    [['node', 'token', '--ttl', '1h'], 'bootfabric node token --help'],
  ])('as in %j is answered with the help of the command that was meant', async (args, help) => {
    const { code, out, err } = await cli(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(new RegExp(`^error: [^\n]+\n {2}accepted: see ${help}\n$`));
  });

  it('that is nearly right is told what was nearly said, in the same line', async () => {
    const { err } = await cli('statsu');
    expect(err).toContain("error: unknown command 'statsu' (did you mean status?)\n");
  });
});
