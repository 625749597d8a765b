import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseIpv4 } from '../../base/ipv4.ts';
import { parseMacAddress } from '../../base/mac-address.ts';
import { SeededRandom } from '../../base/random.ts';
import { serialAdd } from '../../base/serial-number.ts';
import { encodeDhcpMessage } from '../../node/dhcp/message.ts';
import { opcode } from '../../node/iscsi/opcode.ts';
import { HEADER_BYTES, loginRequest, scsiCommand } from '../../node/iscsi/pdu.ts';
import { encodeTextKeys } from '../../node/iscsi/text-keys.ts';
import { encodeFrame, FrameType, frameHeader } from '../../node/peer/frame-codec.ts';
import { encodeHello } from '../../node/peer/hello-codec.ts';
import { createAuthority, createNodeCertificate } from '../../node/setup/certificates.ts';
import { AUTHORITY_KEY_FILE } from '../../node/setup/init-cluster.ts';
import { NODE_FILES } from '../../node/setup/node-directory.ts';
import { encodeTftpPacket } from '../../node/tftp/packet.ts';
import { LOCAL_PORTS } from '../../scripts/demo/local-cluster.ts';
import type { BootTarget } from '../../scripts/simulator/boot-script.ts';
import { discoverMessage } from '../../scripts/simulator/dhcp-messages.ts';
import { login, openWire } from '../../scripts/simulator/iscsi-wire.ts';
import {
  API_PORT,
  type ClusterFixture,
  clusterForFile,
  FILLED_BLOCKS,
  PEER_PORT,
  REPLICATION_PORT,
} from './support/cluster-fixture.ts';
import {
  damaged,
  type Place,
  sendDatagrams,
  sendStreams,
  type TlsIdentity,
} from './support/hostile-traffic.ts';
import { SteadyMachine } from './support/steady-machine.ts';

const NETWORK = '127.200.1';
const ATTACKER = `${NETWORK}.9`;
const STEADY_MAC = '52:54:00:aa:00:01';
const VICTIM_MAC = '52:54:00:aa:00:02';
const DATAGRAMS = 3_000;
const MAX_STALL_MS = 2_000;

const shared = clusterForFile(NETWORK);
const random = new SeededRandom(20_261);
const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1');

let fixture: ClusterFixture;
/** The node under fire is the one that serves the machine that must notice nothing. */
let node: string;
let address: string;
let victim: BootTarget;
let machine: SteadyMachine;
let processIds: (number | undefined)[];

const at = (port: number): Place => ({ host: address, port });

beforeAll(async () => {
  fixture = shared();
  const steady = await fixture.addClient('steady', STEADY_MAC, '--portal-group', 'pg1');
  // At the same node's portal group, so that the attack and the work meet.
  await fixture.addClient('victim', VICTIM_MAC, '--portal-group', 'pg1');
  const target = await fixture.boot(STEADY_MAC);
  victim = await fixture.boot(VICTIM_MAC);
  const { portalGroups } = await fixture.status('n1');
  node = portalGroups.find((group) => group.id === steady.portalGroup)?.primary ?? '';
  address = fixture.cluster.nodeAddress(node);
  processIds = fixture.processIds();
  machine = new SteadyMachine(await fixture.attach(target), FILLED_BLOCKS);
  machine.start();
}, 60_000);

let roundsBefore = 0;
beforeEach(() => {
  roundsBefore = machine.rounds;
});

/** Runs an attack; then it was counted under every name given, and the machine went on as if there were none. */
async function attack(counters: readonly string[], run: () => Promise<void>): Promise<void> {
  const before = await Promise.all(counters.map((name) => fixture.counter(node, name)));
  await run();
  const after = await Promise.all(counters.map((name) => fixture.counter(node, name)));
  const uncounted = counters.filter((_, i) => (after[i] ?? 0) <= (before[i] ?? 0));
  expect(uncounted, 'counters that did not rise').toEqual([]);
  expect(machine.problem, machine.problem === undefined ? '' : await fixture.logTails()).toBeUndefined();
  expect(machine.rounds).toBeGreaterThan(roundsBefore);
}

describe('datagrams', () => {
  /** Replies may only go to this host, whatever the damage. */
  function damagedDiscover(): Uint8Array {
    const macs = [STEADY_MAC, VICTIM_MAC, '52:54:00:ff:ff:ff'];
    const mac = parseMacAddress(macs[random.below(macs.length)] as string);
    const identity = { mac, firmware: 'pxe', architectureType: 0 } as const;
    const message = discoverMessage(identity, random.below(2 ** 32), parseIpv4(ATTACKER));
    const bytes = damaged(encodeDhcpMessage(message), random);
    const [ciaddr, giaddr] = [12, 24];
    if (bytes.length > ciaddr) bytes.fill(0, ciaddr, ciaddr + 4);
    if (bytes.length >= giaddr + 4) bytes.set([127, 200, 1, 9], giaddr);
    return bytes;
  }

  it.each([
    ['DHCP', LOCAL_PORTS.dhcp],
    ['PXE boot server', LOCAL_PORTS.pxe],
  ])('damaged at the %s port are dropped and counted', async (_name, port) => {
    await attack(['dhcp.malformed', 'dhcp.received'], () =>
      sendDatagrams(at(port), ATTACKER, DATAGRAMS, damagedDiscover),
    );
  });

  it('damaged at the TFTP port are dropped or refused, and counted', async () => {
    const options = new Map([['blksize', '1432']]);
    const read = encodeTftpPacket({ kind: 'readRequest', fileName: 'undionly.kpxe', mode: 'octet', options });
    await attack(['tftp.malformed', 'tftp.stray', 'tftp.refused'], () =>
      sendDatagrams(at(LOCAL_PORTS.tftp), ATTACKER, DATAGRAMS, () => damaged(read, random)),
    );
  });
});

describe('streams', () => {
  const httpRequest = ascii(
    'GET /boot/52-54-00-aa-00-01?token=x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n',
  );
  const manyHttp = (): Uint8Array[] => Array.from({ length: 12 }, () => damaged(httpRequest, random));
  const endlessHeader = (): Uint8Array[] => [ascii(`GET / HTTP/1.1\r\nX: ${'y'.repeat(300_000)}`)];

  it('damaged at the HTTP boot port are answered 400 and counted', async () => {
    await attack(['http-boot.malformed'], async () => {
      await sendStreams(at(LOCAL_PORTS.http), 250, manyHttp);
      await sendStreams(at(LOCAL_PORTS.http), 20, endlessHeader);
    });
  });

  it('that are no TLS at the API port are dropped and counted', async () => {
    await attack(['api.tls-error'], () => sendStreams(at(API_PORT), 250, manyHttp));
  });

  it('damaged inside TLS at the API port are refused and counted', async () => {
    await attack(['api.malformed'], async () => {
      await sendStreams(at(API_PORT), 100, manyHttp, {});
      await sendStreams(at(API_PORT), 10, endlessHeader, {});
    });
  });
});

describe('links between nodes', () => {
  const nowMs = Date.now();
  const oversized = (): Uint8Array[] => [
    frameHeader.encode({ lengthBytes: 0xffff_ffff, type: FrameType.hello }),
    random.bytes(2_000),
  ];
  const hello = (): Uint8Array => {
    const said = { service: 'cluster', clusterId: 'other', nodeId: 'n2', incarnation: 'x' };
    return encodeFrame(FrameType.hello, encodeHello(said));
  };
  const damagedHellos = (): Uint8Array[] => [damaged(hello(), random), random.bytes(200)];

  async function ownFile(name: string): Promise<string> {
    return readFile(join(fixture.cluster.nodeDirectory(node), name), 'utf8');
  }

  /** Signed by the cluster's own authority, for a node that is no member: TLS lets it in, the hello must not. */
  async function certificateForStranger(): Promise<TlsIdentity> {
    const ca = await ownFile(NODE_FILES.authority);
    const privateKeyPem = await readFile(fixture.path(`cluster/${AUTHORITY_KEY_FILE}`), 'utf8');
    const subject = { nodeId: 'n9', clusterId: fixture.profile.clusterId, addresses: [address] };
    const made = createNodeCertificate({ certificatePem: ca, privateKeyPem }, subject, { nowMs }, random);
    return { ca, cert: made.certificatePem, key: made.privateKeyPem };
  }

  function certificateOfOther(): TlsIdentity {
    const authority = createAuthority('other', { nowMs }, random);
    const subject = { nodeId: 'n2', clusterId: fixture.profile.clusterId, addresses: [address] };
    const made = createNodeCertificate(authority, subject, { nowMs }, random);
    return { ca: authority.certificatePem, cert: made.certificatePem, key: made.privateKeyPem };
  }

  describe.each([
    ['peer', PEER_PORT, 'peer.inbound'],
    ['replication', REPLICATION_PORT, 'replication.peer.inbound'],
  ])('at the %s port', (_name, port, counters) => {
    it('that are no TLS are dropped and counted', async () => {
      const garbage = (): Uint8Array[] => [random.bytes(1 + random.below(2_000))];
      await attack([`${counters}.tls-error`], () => sendStreams(at(port), 300, garbage));
    });

    it('without a certificate, or with one of another authority, are refused and counted', async () => {
      await attack([`${counters}.refused`], () => sendStreams(at(port), 40, damagedHellos, {}));
      await attack([`${counters}.refused`], () =>
        sendStreams(at(port), 40, damagedHellos, certificateOfOther()),
      );
    });

    it('with impossible lengths, damaged hellos or a hello of another cluster are refused and counted', async () => {
      const identity = await certificateForStranger();
      for (const make of [oversized, damagedHellos, () => [hello()]]) {
        await attack([`${counters}.refused`], () => sendStreams(at(port), 40, make, identity));
      }
    });
  });
});

describe('iSCSI', () => {
  const loginPdu = (): Uint8Array => {
    const keys = encodeTextKeys([
      { key: 'InitiatorName', value: victim.initiatorName },
      { key: 'TargetName', value: victim.targetName },
      { key: 'SessionType', value: 'Normal' },
      { key: 'AuthMethod', value: 'None' },
    ]);
    const header = Buffer.alloc(HEADER_BYTES);
    const fields = { opcode: opcode.loginRequest, immediate: true, transit: true, cid: 1, cmdSN: 1 };
    const stages = { currentStage: 0, nextStage: 1, isid: Buffer.from('400000000009', 'hex') };
    loginRequest.encode({ ...fields, ...stages, dataSegmentLength: keys.length }, header);
    return Buffer.concat([header, keys, Buffer.alloc(-keys.length & 3)]);
  };
  const oversizedLogin = (): Uint8Array => {
    const bytes = loginPdu();
    bytes.set([0xff, 0xff, 0xff], 5);
    return bytes;
  };

  it.each([
    ['fixed', () => at(LOCAL_PORTS.iscsi)],
    ['movable', () => ({ host: victim.portalAddress, port: victim.portalPort })],
  ])('damaged logins at the %s portal are refused or dropped, and counted', async (_name, place) => {
    await attack(['iscsi.connection.dropped.*'], () =>
      sendStreams(place(), 600, () => [damaged(loginPdu(), random), random.bytes(random.below(300))]),
    );
    await attack(['iscsi.connection.dropped.data-segment-too-long'], () =>
      sendStreams(place(), 20, () => [oversizedLogin()]),
    );
  });

  it('damaged PDUs in full feature phase are rejected or end their own session only, and are counted', async () => {
    await attack(['iscsi.rejected.*', 'iscsi.stream.data-segment-too-long'], async () => {
      for (let session = 0; session < 60; session++) await abuseSession(session % 6 === 0);
    });
  });

  async function abuseSession(oversized: boolean): Promise<void> {
    const { wire, ...numbers } = await login({
      host: victim.portalAddress,
      port: victim.portalPort,
      targetName: victim.targetName,
      initiatorName: victim.initiatorName,
      isid: '400000000009',
    });
    const gone = new Promise<void>((resolve) => wire.onClose(() => resolve()));
    wire.onFrame(() => {});
    const command = Buffer.alloc(HEADER_BYTES);
    const fields = {
      opcode: opcode.scsiCommand,
      final: true,
      read: true,
      attributes: 1,
      initiatorTaskTag: 7,
    };
    for (let i = 0; i < 40 && wire.lost === undefined; i++) {
      scsiCommand.encode(
        { ...fields, expectedDataTransferLength: 512, cmdSN: serialAdd(numbers.nextCmdSN, i), expStatSN: 1 },
        command,
      );
      const bytes = damaged(command, random);
      // A PDU of any kind, whole, so that it is judged and not waited for; now and then a broken stream.
      const whole = Buffer.alloc(HEADER_BYTES);
      whole.set(bytes.subarray(0, HEADER_BYTES));
      if (random.below(2) === 0) whole[0] = random.below(0x80);
      whole.fill(0, 4, 8);
      wire.socket.write(random.below(12) === 0 ? bytes : whole);
    }
    if (oversized) {
      command.set([0, 0xff, 0xff, 0xff], 4);
      wire.socket.write(command);
      await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 500))]);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
    wire.destroy();
  }

  it('many silent connections do not keep others out', async () => {
    const wires = await Promise.all(
      Array.from({ length: 200 }, () => openWire(victim.portalAddress, victim.portalPort)),
    );
    const initiator = await fixture.attach(victim);
    expect((await initiator.read(0, 8)).length).toBe(4096);
    initiator.destroy();
    for (const wire of wires) wire.destroy();
  });
});

describe('afterwards', () => {
  afterAll(() => machine.stop());

  it('every process is the one it was, and the machine met neither an error nor a stall', async () => {
    await machine.stop();
    expect(machine.problem).toBeUndefined();
    expect(machine.longestMs).toBeLessThan(MAX_STALL_MS);
    expect(fixture.processIds()).toEqual(processIds);
  });

  it('a machine boots as before', async () => {
    const target = await fixture.boot(VICTIM_MAC);
    const initiator = await fixture.attach(target);
    expect(initiator.capacity.blocks).toBe(8192);
    initiator.destroy();
  });
});
