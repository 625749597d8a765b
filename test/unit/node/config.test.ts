import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../base/errors.ts';
import { DEFAULT_PORTS, formatConfig, loadConfig, parseConfig } from '../../../node/config.ts';

const GOOD = `
nodeId: n1
address: 127.0.0.11
ports: {peer: 7400, replication: 7401, api: 7443, http: 7480, tftp: 69, dhcp: 67, pxe: 4011, iscsi: 3260}
portal: {interface: null}
dhcp: {interfaces: [eth0]}
ipxeDir: /usr/lib/ipxe
`;

function refusal(text: string): OperationError {
  try {
    parseConfig(text, '/srv/n1');
  } catch (error) {
    expect(error).toBeInstanceOf(OperationError);
    return error as OperationError;
  }
  throw new Error('was accepted');
}

describe('bootfabric.yaml', () => {
  it('is read into a frozen object, relative paths from its directory', () => {
    const config = parseConfig(GOOD, '/srv/n1');
    expect(config).toEqual({
      nodeId: 'n1',
      address: '127.0.0.11',
      ports: DEFAULT_PORTS,
      portal: { interface: null },
      dhcp: { interfaces: ['eth0'] },
      ipxeDir: '/usr/lib/ipxe',
      dataDir: '/srv/n1/data',
    });
    expect(Object.isFrozen(config)).toBe(true);
    const roomy = GOOD.replace('{interface: null}', '{interface: null, imageCacheMib: 2048}');
    expect(parseConfig(roomy, '/srv/n1').portal).toEqual({ interface: null, imageCacheMib: 2048 });
    const tight = refusal(GOOD.replace('{interface: null}', '{interface: null, imageCacheMib: 1}'));
    expect(tight.message).toContain('imageCacheMib');
    expect(tight.accepted).toContain('16 to 1048576');
    const deep = GOOD.replace('{interface: null}', '{interface: null, queueDepth: 256}');
    expect(parseConfig(deep, '/srv/n1').portal).toEqual({ interface: null, queueDepth: 256 });
    expect(refusal(deep.replace('256', '1025')).accepted).toContain('1 to 1024');
    expect(Object.isFrozen(config.ports)).toBe(true);
    const placed = parseConfig(`${GOOD}placement: {weight: 3, rack: a1}`, '/srv/n1');
    expect(placed.placement).toEqual({ weight: 3, rack: 'a1' });
    expect(refusal(`${GOOD}placement: {weight: 0}`).message).toContain('placement.weight');
    expect(Object.isFrozen(config.dhcp.interfaces)).toBe(true);
  });

  it('says how many data-plane workers there are, where it says anything of that', () => {
    const withPlane = (text: string): string => `${GOOD}dataPlane: ${text}`;
    for (const dataPlane of [{ workers: 4, firstPort: 8000 }, { workers: 'auto' }, {}]) {
      const config = parseConfig(withPlane(JSON.stringify(dataPlane)), '/srv/n1');
      expect(config.dataPlane).toEqual(dataPlane);
      expect(parseConfig(formatConfig(config), '/srv/n1')).toEqual(config);
    }
    for (const workers of ['0', '33', '1.5', 'many']) {
      const refused = refusal(withPlane(`{workers: ${workers}}`));
      expect(refused.message).toContain('dataPlane.workers');
      expect(refused.accepted).toBe('auto, or a whole number from 1 to 32');
    }
    expect(refusal(withPlane('{firstPort: 0}')).message).toContain('dataPlane.firstPort');
    expect(refusal(withPlane('{threads: 2}')).accepted).toContain('workers, firstPort');
  });

  it('is written as it is read', () => {
    const config = parseConfig(`${GOOD}dataDir: /var/lib/bootfabric`, '/srv/n1');
    expect(parseConfig(formatConfig(config), '/srv/n1')).toEqual(config);
  });

  it.each([
    ['a missing key', GOOD.replace('nodeId: n1', ''), 'nodeId is missing', undefined],
    ['an unknown key', `${GOOD}colour: red`, 'colour is not known', 'colour'],
    [
      'an unknown nested key',
      GOOD.replace('peer: 7400', 'peer: 7400, ssh: 22'),
      'ports.ssh is not known',
      'ssh',
    ],
    ['a bad name', GOOD.replace('n1', 'N 1'), 'nodeId is "N 1"', 'N 1'],
    ['a port too high', GOOD.replace('7443', '74430'), 'ports.api is 74430', 74_430],
    ['a port as text', GOOD.replace('7443', '"x"'), 'ports.api is "x"', 'x'],
    ['a port missing', GOOD.replace('tftp: 69, ', ''), 'ports.tftp is missing', undefined],
    ['a bad address', GOOD.replace('127.0.0.11', '127.0.0.256'), 'address is "127.0.0.256"', '127.0.0.256'],
    [
      'two services on a port',
      GOOD.replace('7401', '7400'),
      'ports.replication and ports.peer are both 7400',
      7400,
    ],
    ['interfaces not a list', GOOD.replace('[eth0]', 'eth0'), 'dhcp.interfaces is "eth0"', 'eth0'],
    ['a bad interface', GOOD.replace('[eth0]', '[eth0, a/b]'), 'dhcp.interfaces[1] is "a/b"', 'a/b'],
    ['a portal interface of 5', GOOD.replace('null', '5'), 'portal.interface is 5', 5],
    ['an empty file', '', 'the document is null', null],
    ['a list', '- a', 'the document is ["a"]', ['a']],
    ['something else than YAML', `${GOOD}: : :\n  - {`, 'is not YAML', undefined],
  ])('with %s is refused, told where', (_name, text, message, got) => {
    const error = refusal(text);
    expect(error.message).toContain(message);
    expect(error.message).toContain('bootfabric.yaml');
    expect(error.kind).toBe('invalid');
    expect(error.accepted).toBeTruthy();
    if (got !== undefined) expect(error.got).toEqual(got);
  });

  it('that is not there is told by its path', async () => {
    await expect(loadConfig('/nonexistent/n1')).rejects.toMatchObject({
      kind: 'not-found',
      got: '/nonexistent/n1/bootfabric.yaml',
    });
  });

  it('names what a port and a name may be', () => {
    expect(refusal(GOOD.replace('7443', '0')).accepted).toBe('a port number, 1 to 65535');
    expect(refusal(GOOD.replace('n1', '-n1')).accepted).toContain('lower-case letters');
    expect(refusal(`${GOOD}colour: red`).accepted).toContain('nodeId, address, ports');
  });
});
