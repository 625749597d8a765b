import { describe, expect, it } from 'vitest';
import { parseMacAddress } from '../../../../base/mac-address.ts';
import { byteRange } from '../../../../node/http-boot/byte-range.ts';
import { firstScript, ipxeScript } from '../../../../node/http-boot/ipxe-script.ts';
import type { BootAnswer } from '../../../../node/http-boot/ports.ts';
import { routeOf } from '../../../../node/http-boot/route.ts';
import { parseBootScript } from '../../../../scripts/simulator/boot-script.ts';

const retryUrls = ['http://192.0.2.11:8080/boot/x?token=1', 'http://192.0.2.12:8080/boot/x?token=1'];
const context = { clientName: 'pc-1', retryUrls };
const boot: BootAnswer = {
  kind: 'boot',
  targetName: 'iqn.2026-11.test:lab.pc-1',
  initiatorName: 'iqn.2026-11.test:lab.client.pc-1',
  portalAddress: '192.0.2.50',
  portalPort: 3260,
  lun: 26,
};

describe('iPXE script', () => {
  it('for a disk', () => {
    expect(ipxeScript(boot, context)).toBe(`#!ipxe
echo bootfabric: pc-1: disk iqn.2026-11.test:lab.pc-1 at 192.0.2.50
set initiator-iqn iqn.2026-11.test:lab.client.pc-1
clear username ||
clear password ||
clear reverse-username ||
clear reverse-password ||
set san-retries 100 ||
sanboot iscsi:192.0.2.50::3260:1a:iqn.2026-11.test:lab.pc-1 ||
echo bootfabric: the disk could not be attached, or nothing on it boots
sleep 5
:again
chain --replace --timeout 30000 http://192.0.2.11:8080/boot/x?token=1 ||
chain --replace --timeout 30000 http://192.0.2.12:8080/boot/x?token=1 ||
chain --replace http://192.0.2.11:8080/boot/x?token=1 ||
chain --replace http://192.0.2.12:8080/boot/x?token=1 ||
dhcp ||
chain --replace \${filename} ||
sleep 5
goto again
`);
    const { kind: _, ...target } = boot;
    expect(parseBootScript(ipxeScript(boot, context))).toEqual({ kind: 'boot', retryUrls, target });
  });

  it('carries the secrets the disk is attached with, and clears what it does not carry', () => {
    const oneWay = { username: 'pc-1', secret: 'aSecret.Number_1' };
    const mutual = { ...oneWay, mutual: { username: 'bootfabric', secret: 'anotherSecret1' } };
    for (const chap of [oneWay, mutual]) {
      const parsed = parseBootScript(ipxeScript({ ...boot, chap }, context));
      expect(parsed).toMatchObject({ kind: 'boot', target: { chap } });
    }
    expect(ipxeScript({ ...boot, chap: oneWay }, context)).toContain(
      'set username pc-1\nset password aSecret.Number_1\nclear reverse-username ||\n',
    );
    expect(ipxeScript({ ...boot, chap: mutual }, context)).toContain('set reverse-password anotherSecret1\n');
    expect(ipxeScript({ ...boot, chap: { ...oneWay, secret: 'a\nshell' } }, context)).not.toContain(
      'sanboot',
    );
  });

  it('that comes first asks every node at once, and goes on asking', () => {
    const text = firstScript(context);
    expect(parseBootScript(text)).toEqual({ kind: 'ask-again', afterSeconds: 0, retryUrls, shown: [] });
    expect(text.trimEnd().split('\n').slice(-4)).toEqual([
      'dhcp ||',
      'chain --replace ${filename} ||',
      'sleep 5',
      'goto again',
    ]);
  });

  it('for a wait', () => {
    const text = ipxeScript({ kind: 'wait', reason: 'it moves', retryAfterSeconds: 2.5 }, context);
    expect(parseBootScript(text)).toEqual({
      kind: 'ask-again',
      afterSeconds: 3,
      retryUrls,
      shown: ['bootfabric: pc-1 waits for its disk: it moves'],
    });
  });

  it('for a refusal goes on asking, slowly', () => {
    const script = parseBootScript(ipxeScript({ kind: 'refused', reason: 'no image' }, context));
    expect(script).toMatchObject({ kind: 'ask-again', afterSeconds: 30 });
    expect(JSON.stringify(script)).toContain('pc-1 cannot boot: no image');
  });

  it.each(['shell\nshell', '|| shell', '${netX/mac}', '&& shell', '# x', 'ünïcode \u0000'])(
    'shows %j as harmless text',
    (reason) => {
      const text = ipxeScript({ kind: 'refused', reason }, { ...context, clientName: reason });
      expect(text.split('\n').filter((line) => /^\W*shell/.test(line))).toEqual([]);
      const echoed = text.split('\n').filter((line) => line.startsWith('echo'));
      expect(echoed.join('')).not.toMatch(/[\\|&#$;\u0080-\uffff]/);
    },
  );

  it.each([
    { targetName: 'iqn.a b' },
    { targetName: 'iqn.a\nshell' },
    { targetName: 'x' },
    { initiatorName: 'iqn.${x}' },
    { portalAddress: 'node.example' },
    { portalAddress: '' },
  ])('does not write %j', (wrong) => {
    const text = ipxeScript({ ...boot, ...wrong }, context);
    expect(text).not.toContain('sanboot');
    expect(parseBootScript(text)).toMatchObject({ kind: 'ask-again' });
  });

  it('bounds what it waits', () => {
    const wait = (retryAfterSeconds: number): string =>
      ipxeScript({ kind: 'wait', reason: 'x', retryAfterSeconds }, context);
    expect(wait(0)).toContain('sleep 1\n');
    expect(wait(1e9)).toContain('sleep 300\n');
  });
});

describe('routes', () => {
  const mac = parseMacAddress('52:54:00:12:34:56');
  it.each([
    ['GET', '/boot/52-54-00-12-34-56?token=a.b', { kind: 'script', mac, token: 'a.b' }],
    ['GET', '/boot/52:54:00:12:34:56', { kind: 'script', mac, token: '' }],
    ['HEAD', '/boot/52:54:00:12:34:56', { kind: 'method-not-allowed', allow: 'GET' }],
    ['GET', '/first/52-54-00-12-34-56?token=a.b', { kind: 'first', mac, token: 'a.b' }],
    ['HEAD', '/first/52:54:00:12:34:56', { kind: 'method-not-allowed', allow: 'GET' }],
    ['GET', '/boot/52:54:00:12:34:5', { kind: 'not-found' }],
    ['GET', '/boot/52:54-00:12:34:56', { kind: 'not-found' }],
    ['GET', '/boot/', { kind: 'not-found' }],
    ['GET', '/files/snponly.efi', { kind: 'file', name: 'snponly.efi' }],
    ['HEAD', '/files/snponly.efi', { kind: 'file', name: 'snponly.efi' }],
    ['PUT', '/files/snponly.efi', { kind: 'method-not-allowed', allow: 'GET, HEAD' }],
    ['GET', '/files/../secret', { kind: 'not-found' }],
    ['GET', '/files/%2e%2e%2fsecret', { kind: 'not-found' }],
    ['GET', '/files/.hidden', { kind: 'not-found' }],
    ['GET', '/files/a/b', { kind: 'not-found' }],
    ['GET', '/', { kind: 'not-found' }],
    ['GET', '', { kind: 'not-found' }],
    ['GET', `/files/${'x'.repeat(2000)}`, { kind: 'not-found' }],
  ])('%s %s', (method, target, route) => {
    expect(routeOf(method, target)).toEqual(route);
  });
});

describe('byte ranges of 100 bytes', () => {
  it.each([
    [undefined, { kind: 'whole' }],
    ['bytes=0-9', { kind: 'part', start: 0, end: 10 }],
    ['bytes=90-', { kind: 'part', start: 90, end: 100 }],
    ['bytes=-10', { kind: 'part', start: 90, end: 100 }],
    ['bytes=-1000', { kind: 'part', start: 0, end: 100 }],
    ['bytes=99-1000', { kind: 'part', start: 99, end: 100 }],
    ['bytes=100-', { kind: 'unsatisfiable' }],
    ['bytes=-0', { kind: 'unsatisfiable' }],
    ['bytes=9-0', { kind: 'whole' }],
    ['bytes=0-1,5-6', { kind: 'whole' }],
    ['bytes=-', { kind: 'whole' }],
    ['lines=0-1', { kind: 'whole' }],
  ])('%s', (header, range) => {
    expect(byteRange(header, 100)).toEqual(range);
  });
  it('of an empty file', () => {
    expect(byteRange('bytes=0-', 0)).toEqual({ kind: 'unsatisfiable' });
    expect(byteRange('bytes=-5', 0)).toEqual({ kind: 'unsatisfiable' });
  });
});
