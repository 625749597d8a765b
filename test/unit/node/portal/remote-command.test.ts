import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { ClientRecord } from '../../../../cluster/state/model.ts';
import { TargetSessions } from '../../../../node/iscsi/target-sessions.ts';
import { CommandChannel } from '../../../../node/portal/command-channel.ts';
import { REMOTE_COMMAND_TIMEOUT_MS } from '../../../../node/portal/limits.ts';
import {
  decodeRemoteMessage,
  encodeRemoteMessage,
  REMOTE_MESSAGE,
  type RemoteCommand,
  type RemoteMessage,
  type RemoteOutcome,
} from '../../../../node/portal/remote-command.ts';
import { carryOutRemote } from '../../../../node/portal/remote-unit.ts';
import { SINGLE_PATH } from '../../../../node/scsi/access-state.ts';
import { checkCondition, conflict, type ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import { sense } from '../../../../node/scsi/sense.ts';
import { decodeServerState } from '../../../../node/scsi/server-state.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { FakeCluster } from '../../../support/fake-cluster.ts';
import { MemoryMesh } from '../../../support/memory-mesh.ts';
import { MemoryDevice } from '../iscsi/memory-device.ts';

const INITIATOR_PORT = 'iqn.2026-11.net.example:client1,i,0x400000000001';
const cdb = (text: string): Uint8Array => Buffer.from(text.padEnd(32, '0'), 'hex');
const READ_KEYS = cdb('5e000000000000010000');
const register = (key: number): Uint8Array => {
  const list = Buffer.alloc(24);
  list[15] = key;
  return list;
};
const command: RemoteCommand = {
  groupId: 'g1',
  lunId: 7,
  targetPort: 3,
  initiatorPort: INITIATOR_PORT,
  cdb: cdb('5f000000000000001800'),
  dataOut: register(0xa1),
};

describe('messages', () => {
  const outcomes: RemoteOutcome[] = [
    { kind: 'good', dataIn: [], lengthBytes: 0 },
    { kind: 'good', dataIn: [Buffer.from([1, 2, 3])], lengthBytes: 3 },
    checkCondition({ ...sense.invalidFieldInCdb, field: { inCdb: true, byte: 2, bit: 5 } }),
    {
      ...checkCondition({ ...sense.becomingReady, information: 9, progress: 8 }),
      descriptorFormat: true,
    } as ScsiOutcome,
    conflict,
    { kind: 'not-serving' },
    { kind: 'not-here' },
  ];
  test.each<RemoteMessage>([
    { kind: 'command', id: 1, command },
    ...outcomes.map((outcome) => ({ kind: 'outcome', id: 2, outcome }) as const),
  ])('come back as they were: %j', (message) => {
    expect(decodeRemoteMessage(encodeRemoteMessage(message))).toEqual(message);
  });

  test('of any other bytes are refused with an error of the protocol', () => {
    const refused = (bytes: Uint8Array): void => {
      try {
        decodeRemoteMessage(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: 'bad-remote-command' });
      }
    };
    const text = Buffer.from(encodeRemoteMessage({ kind: 'command', id: 1, command }));
    fc.assert(fc.property(fc.uint8Array(), refused));
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.nat(255), (at, byte) => {
        const changed = Buffer.from(text);
        changed[at] = byte;
        refused(changed);
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        refused(Buffer.concat([Uint8Array.of(REMOTE_MESSAGE), Buffer.from(JSON.stringify(value))]));
      }),
    );
  });
});

describe('between nodes', () => {
  function network(carryOut: (command: RemoteCommand) => Promise<RemoteOutcome> = async () => conflict) {
    const mesh = new MemoryMesh();
    const clock = new ManualClock();
    const counters = new CounterSet();
    const linkTo = (_: string, nodeId: string): string => nodeId;
    const parts = { timers: clock, logger: silentLogger, counters, linkTo };
    const join = (nodeId: string, serve: typeof carryOut) =>
      new CommandChannel({ ...parts, transport: mesh.join({ nodeId, incarnation: 'i1' }), carryOut: serve });
    const one = join('n1', async () => ({ kind: 'not-here' }));
    const two = join('n2', carryOut);
    return { mesh, clock, counters, one, two };
  }

  test('a command is carried out there, and its outcome comes back', async () => {
    const asked: RemoteCommand[] = [];
    const { one } = network(async (c) => {
      asked.push(c);
      return { kind: 'good', dataIn: [Buffer.from('xy')], lengthBytes: 2 };
    });
    const outcome = await one.forward('n2', command);
    expect(outcome).toEqual({ kind: 'good', dataIn: [Buffer.from('xy')], lengthBytes: 2 });
    expect(asked).toEqual([command]);
  });

  test('where nothing was done the path is in transition', async () => {
    const { one, two, mesh } = network();
    const inTransition = checkCondition(sense.stateTransition);
    expect(await one.forward(undefined, command), 'no primary is known').toEqual(inTransition);
    expect(await two.forward('n1', command), 'it does not serve the group').toEqual(inTransition);
    mesh.cut('n1', 'n2');
    expect(await one.forward('n2', command), 'there is no link').toEqual(inTransition);
  });

  test('where nobody knows what was done nothing is said', async () => {
    const { one, mesh, clock } = network(() => new Promise(() => {}));
    const late = one.forward('n2', command);
    clock.advance(REMOTE_COMMAND_TIMEOUT_MS);
    expect(await late).toEqual({ kind: 'not-serving' });
    const lost = one.forward('n2', command);
    await new Promise((resolve) => setImmediate(resolve));
    mesh.cut('n1', 'n2');
    expect(await lost).toEqual({ kind: 'not-serving' });
  });

  test('an answer is taken from the node that was asked alone, and what cannot be read is dropped', async () => {
    let answer = (): void => {};
    const { one, mesh, counters } = network(
      () =>
        new Promise((resolve) => {
          answer = () => resolve(conflict);
        }),
    );
    const third = mesh.join({ nodeId: 'n3', incarnation: 'i1' });
    const outcome = one.forward('n2', command);
    third.send('n1', [encodeRemoteMessage({ kind: 'outcome', id: 1, outcome: { kind: 'not-here' } })]);
    third.send('n1', [Uint8Array.of(REMOTE_MESSAGE, 1, 2)]);
    while (counters.get('portal.command.malformed') === 0)
      await new Promise((resolve) => setImmediate(resolve));
    answer();
    expect(await outcome).toEqual(conflict);
  });

  test('what else goes over the links is not touched', async () => {
    const { one, two, mesh } = network();
    const received: Uint8Array[] = [];
    const links: boolean[] = [];
    two.transport().onMessage((_, message) => received.push(message));
    two.transport().onLinkChange((_, up) => links.push(up));
    expect(one.transport().send('n2', [Uint8Array.of(2, 9)])).toBe(true);
    while (received.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect([...(received[0] as Uint8Array)]).toEqual([2, 9]);
    mesh.cut('n1', 'n2');
    while (links.at(-1) !== false) await new Promise((resolve) => setImmediate(resolve));
    expect(one.transport().isUp('n2')).toBe(false);
  });
});

describe('on the primary', () => {
  function primary(where: { serves?: boolean; multipath?: boolean } = {}) {
    const cluster = new FakeCluster();
    cluster.addImage('win11');
    const macs = ['52:54:00:12:34:56'];
    cluster.apply({ type: 'addClient', name: 'pc1', macs, image: 'win11', writeCache: 'discard' });
    const before = cluster.state();
    const pc1 = before.clients['pc1'];
    if (pc1 === undefined) throw new Error('no client');
    const client: ClientRecord = (where.multipath ?? true) ? { ...pc1, multipath: true } : pc1;
    const state = { ...before, clients: { pc1: client } };
    const device = new MemoryDevice(64);
    const clock = new ManualClock();
    const targets = new TargetSessions({ timers: clock, logger: silentLogger });
    const groups = {
      isServing: () => true,
      hasMoved: () => false,
      device: async () => ((where.serves ?? true) ? device : undefined),
      standbyDevice: () => undefined,
      paths: (_: string, ownPort: number) => ({ ...SINGLE_PATH, ownPort }),
    };
    const place = { groupId: client.portalGroup, lunId: client.lunId };
    const carryOut = (more: Partial<RemoteCommand> = {}): Promise<RemoteOutcome> =>
      carryOutRemote(
        { ...command, ...place, ...more },
        { state: () => state, groups, targets, logger: silentLogger },
      );
    return { carryOut, device };
  }

  test('a reservation is of the port that the initiator is logged in by', async () => {
    const { carryOut, device } = primary();
    expect(await carryOut()).toMatchObject({ kind: 'good' });
    const { reservations } = decodeServerState(device.serverState ?? new Uint8Array());
    expect(reservations.registrations).toEqual([
      { port: `${INITIATOR_PORT},t,0x0003`, key: '00000000000000a1' },
    ]);
    expect(await carryOut(), 'registered already, under another key than none').toEqual(conflict);
    const keys = await carryOut({ cdb: READ_KEYS, dataOut: new Uint8Array() });
    expect(keys).toMatchObject({ kind: 'good', lengthBytes: 16 });
  });

  test('a command that is wrong is refused as by any path, and one cut short as well', async () => {
    const { carryOut } = primary();
    expect(await carryOut({ dataOut: new Uint8Array(20) })).toEqual(
      checkCondition(sense.parameterListLengthError),
    );
  });

  test.each([
    ['that it does not serve', primary({ serves: false }), {}],
    ['of a client with one path', primary({ multipath: false }), {}],
    ['of another group', primary(), { groupId: 'elsewhere' }],
    ['that is not there', primary(), { lunId: 99 }],
  ])('a disk %s is not here', async (_, { carryOut }, more) => {
    expect(await carryOut(more)).toEqual({ kind: 'not-here' });
  });

  test('reads and writes are not taken', async () => {
    const { carryOut, device } = primary();
    const write = { cdb: cdb('2a00000000000000010000'), dataOut: new Uint8Array(512) };
    expect(await carryOut(write)).toEqual(checkCondition(sense.portInStandby));
    expect(device.calls.writes).toBe(0);
  });

  test('a disk that is lost meanwhile leaves the outcome open', async () => {
    const { carryOut, device } = primary();
    device.failure = new DeviceError('not-serving', 'the group has moved');
    expect(await carryOut()).toEqual({ kind: 'not-serving' });
  });
});
