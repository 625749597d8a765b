import { afterEach, describe, expect, it } from 'vitest';
import type { ClientDocument } from '../../api/contract/clients.ts';
import { reservationType } from '../../node/scsi/persistent-reservation.ts';
import type { BootTarget } from '../../scripts/simulator/boot-script.ts';
import { Initiator } from '../../scripts/simulator/iscsi-initiator.ts';
import { login } from '../../scripts/simulator/iscsi-wire.ts';
import { clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';

const GROUP = 'pg1';
const TAKEOVER_TIMEOUT_MS = 60_000;
const UNIT_ATTENTION = 6;
const conflict = 0x18;
const action = { register: 0, reserve: 1, readKeys: 0, readReservation: 1 } as const;
const NO_KEY = '0000000000000000';
const HOLDER = { isid: '4000000000a1', key: '00000000000000a1' };
const REGISTERED = { isid: '4000000000b2', key: '00000000000000b2' };
const STRANGER = { isid: '4000000000c3' };

/** What whoever holds the reservation, has registered, or has not, may do: write, read. */
const MAY = {
  writeExclusive: { holder: 'write read', registered: 'read', stranger: 'read' },
  exclusiveAccess: { holder: 'write read', registered: '', stranger: '' },
  writeExclusiveRegistrantsOnly: { holder: 'write read', registered: 'write read', stranger: 'read' },
  exclusiveAccessRegistrantsOnly: { holder: 'write read', registered: 'write read', stranger: '' },
  writeExclusiveAllRegistrants: { holder: 'write read', registered: 'write read', stranger: 'read' },
  exclusiveAccessAllRegistrants: { holder: 'write read', registered: 'write read', stranger: '' },
} as const satisfies Record<keyof typeof reservationType, Record<string, string>>;
const TYPES = Object.keys(MAY) as (keyof typeof MAY)[];

const shared = clusterForFile('127.200.58');
const initiators: Initiator[] = [];

afterEach(() => {
  for (const initiator of initiators.splice(0)) initiator.destroy();
});

interface Disk {
  readonly client: ClientDocument;
  readonly target: BootTarget;
}

/** Waits for a portal that is being moved, and takes the unit attentions of a new session. */
async function attach({ target }: Disk, isid: string): Promise<Initiator> {
  const { portalAddress: host, portalPort: port, targetName, initiatorName, lun } = target;
  const options = { host, port, targetName, initiatorName, lun, isid };
  let initiator: Initiator | undefined;
  await until(
    'the disk is served',
    async () => {
      const attempt = new Initiator(await login(options), options);
      initiator = attempt;
      let reply = await attempt.command({ cdb: new Uint8Array(6) });
      while (((reply.sense[2] ?? 0) & 15) === UNIT_ATTENTION) {
        reply = await attempt.command({ cdb: new Uint8Array(6) });
      }
      if (reply.status === 0) return true;
      attempt.destroy();
      return false;
    },
    TAKEOVER_TIMEOUT_MS,
  );
  initiators.push(initiator as Initiator);
  return initiator as Initiator;
}

async function reserveOut(initiator: Initiator, what: number, type: number, keys: string): Promise<void> {
  const write = Buffer.from(`${keys}${'0'.repeat(16)}`, 'hex');
  const cdb = Uint8Array.from([0x5f, what, type, 0, 0, 0, 0, 0, write.length, 0]);
  expect((await initiator.command({ cdb, write })).status).toBe(0);
}

async function reserveIn(initiator: Initiator, what: number): Promise<string> {
  const cdb = Uint8Array.from([0x5e, what, 0, 0, 0, 0, 0, 0, 255, 0]);
  return Buffer.from((await initiator.command({ cdb, readBytes: 255 })).data).toString('hex');
}

/** "write", "read", both or nothing. */
async function allowed(initiator: Initiator): Promise<string> {
  const cdb = (opcode: number) => Uint8Array.from([opcode, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  const write = await initiator.command({ cdb: cdb(0x2a), write: Buffer.alloc(512, 7) });
  const read = await initiator.command({ cdb: cdb(0x28), readBytes: 512 });
  const found = { write: write.status, read: read.status };
  for (const status of Object.values(found)) expect([0, conflict]).toContain(status);
  return Object.entries(found)
    .filter(([, status]) => status === 0)
    .map(([name]) => name)
    .join(' ');
}

/** Looks at every disk by new sessions of all three. */
async function expectKept(disks: ReadonlyMap<keyof typeof MAY, Disk>): Promise<void> {
  for (const [name, disk] of disks) {
    const sessions = {
      holder: await attach(disk, HOLDER.isid),
      registered: await attach(disk, REGISTERED.isid),
      stranger: await attach(disk, STRANGER.isid),
    };
    const type = reservationType[name];
    const keyOfHolder = name.endsWith('AllRegistrants') ? NO_KEY : HOLDER.key;
    const typeByte = type.toString(16).padStart(2, '0');
    expect(await reserveIn(sessions.stranger, action.readKeys), name).toBe(
      `0000000200000010${HOLDER.key}${REGISTERED.key}`,
    );
    expect(await reserveIn(sessions.stranger, action.readReservation), name).toBe(
      `0000000200000010${keyOfHolder}0000000000${typeByte}0000`,
    );
    const may = {
      holder: await allowed(sessions.holder),
      registered: await allowed(sessions.registered),
      stranger: await allowed(sessions.stranger),
    };
    expect(may, name).toEqual(MAY[name]);
  }
}

const primary = async (asked: string): Promise<string> =>
  (await shared().status(asked)).portalGroups.find(({ id }) => id === GROUP)?.primary as string;

describe('persistent reservations of every type', () => {
  it('bar whom they barred once their node is killed, and once all have been', async () => {
    const { cluster } = shared();
    const disks = new Map<keyof typeof MAY, Disk>();
    for (const [i, name] of TYPES.entries()) {
      const mac = `52:54:00:cc:58:0${i}`;
      const client = await shared().addClient(`reserved-${i}`, mac, '--portal-group', GROUP);
      const disk = { client, target: await shared().boot(mac) };
      disks.set(name, disk);
      const [holder, registered] = [
        await attach(disk, HOLDER.isid),
        await attach(disk, REGISTERED.isid),
      ] as const;
      await reserveOut(holder, action.register, 0, `${NO_KEY}${HOLDER.key}`);
      await reserveOut(registered, action.register, 0, `${NO_KEY}${REGISTERED.key}`);
      await reserveOut(holder, action.reserve, reservationType[name], `${HOLDER.key}${NO_KEY}`);
    }
    await expectKept(disks);

    const victim = await primary('n1');
    await cluster.kill(victim);
    await expectKept(disks);
    const heir = await primary(NODE_IDS.find((id) => id !== victim) as string);
    expect(heir).not.toBe(victim);

    for (const id of NODE_IDS) if (id !== victim) await cluster.kill(id);
    for (const id of NODE_IDS) cluster.start(id);
    await cluster.waitUntilServing(NODE_IDS.length);
    await expectKept(disks);
  }, 280_000);
});
