import { describe, expect, it } from 'vitest';
import { parseServeLunArguments } from '../../../../node/serve-lun/options.ts';

function usageOf(...args: string[]): string {
  const parsed = parseServeLunArguments(args);
  if (parsed.kind !== 'usage') throw new Error(`taken: ${JSON.stringify(parsed)}`);
  return parsed.message;
}

describe('the options of serve-lun', () => {
  it('have defaults for everything but the files', () => {
    expect(parseServeLunArguments(['a.raw'])).toEqual({
      kind: 'options',
      options: {
        files: ['a.raw'],
        listen: [{ address: '127.0.0.1', port: 3260 }],
        readOnly: false,
        workers: 1,
        writes: 'keep',
        writeLog: undefined,
        cacheBytes: 256 * 1024 * 1024,
        queueDepth: 128,
        json: false,
        logLevel: 'warn',
      },
    });
  });

  it('take several files and portals', () => {
    const parsed = parseServeLunArguments(
      'a b --listen 127.0.0.1:1 --listen 10.0.0.1:0 --read-only --workers 3 --writes merge --write-log /w --queue-depth 32 --json'.split(
        ' ',
      ),
    );
    expect(parsed).toMatchObject({
      options: {
        files: ['a', 'b'],
        listen: [
          { address: '127.0.0.1', port: 1 },
          { address: '10.0.0.1', port: 0 },
        ],
        readOnly: true,
        workers: 3,
        writes: 'merge',
        writeLog: '/w',
        queueDepth: 32,
        json: true,
      },
    });
  });

  it.each([
    ['no file', [], 'file'],
    ['no port', ['f', '--listen', '127.0.0.1'], "'127.0.0.1' is invalid"],
    ['a port beyond 65535', ['f', '--listen', '127.0.0.1:65536'], 'IPv4 address of this host and a port'],
    ['a host name', ['f', '--listen', 'localhost:3260'], 'IPv4 address'],
    ['an address no initiator could use', ['f', '--listen', '0.0.0.0:3260'], 'IPv4 address'],
    ['no worker', ['f', '--workers', '0'], 'from 1 to 64'],
    ['a queue without depth', ['f', '--queue-depth', '0'], 'from 1 to 1024'],
    ['an unknown mode', ['f', '--writes', 'maybe'], 'keep, discard, merge'],
    ['an unknown option', ['f', '--portal', 'x'], '--portal'],
    ['too many files', Array.from({ length: 257 }, (_, i) => `f${i}`), '256 at most'],
  ])('refuse %s', (_, args, message) => {
    expect(usageOf(...args)).toContain(message);
  });

  it('explain themselves', () => {
    const parsed = parseServeLunArguments(['--help']);
    expect(parsed.kind === 'help' && parsed.text).toContain('Writes never change FILE while it is served');
  });
});
