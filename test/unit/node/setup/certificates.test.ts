import { X509Certificate } from 'node:crypto';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { createAuthority, createNodeCertificate } from '../../../../node/setup/certificates.ts';

const CLUSTER = 'c0ffee00c0ffee00c0ffee00c0ffee00';
const NOW = { nowMs: Date.UTC(2026, 10, 20, 12) };
const random = new SeededRandom(7);
const authority = createAuthority(CLUSTER, NOW, random);
const node = (nodeId: string, addresses: readonly string[]) =>
  createNodeCertificate(authority, { nodeId, clusterId: CLUSTER, addresses }, NOW, random);

describe('the cluster authority', () => {
  const ca = new X509Certificate(authority.certificatePem);

  it('is a self-signed CA from a day ago for ten years', () => {
    expect(ca.ca).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect(ca.checkIssued(ca)).toBe(true);
    expect(new Date(ca.validFrom).getTime()).toBe(NOW.nowMs - 86_400_000);
    expect(new Date(ca.validTo).getTime()).toBe(NOW.nowMs - 86_400_000 + 3650 * 86_400_000);
  });

  it('signs node certificates naming node, cluster and addresses, for both ends of a connection', () => {
    const certificate = new X509Certificate(node('n1', ['127.0.0.1', 'n1.example']).certificatePem);
    expect(certificate.verify(ca.publicKey)).toBe(true);
    expect(certificate.checkIssued(ca)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.subject).toBe(`O=${CLUSTER}\nCN=n1`);
    expect(certificate.subjectAltName).toBe('IP Address:127.0.0.1, DNS:n1.example');
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(certificate.checkIP('127.0.0.2')).toBeUndefined();
  });

  it('never gives two certificates one serial number', () => {
    const serials = Array.from(
      { length: 20 },
      () => new X509Certificate(node('n', []).certificatePem).serialNumber,
    );
    expect(new Set(serials).size).toBe(20);
  });
});

describe('mutual TLS', () => {
  async function handshake(client: { cert?: string; key?: string }): Promise<boolean> {
    const own = node('n1', ['127.0.0.1']);
    const server = createServer({
      ca: authority.certificatePem,
      cert: own.certificatePem,
      key: own.privateKeyPem,
      requestCert: true,
      rejectUnauthorized: false,
    });
    const seen = new Promise<boolean>((resolve) => {
      server.once('secureConnection', (socket: TLSSocket) => {
        resolve(socket.authorized);
        socket.destroy();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificatePem, ...client });
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
    });
    socket.on('error', () => {});
    const authorized = await seen;
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    return authorized;
  }

  it('accepts a node, and nobody of another cluster', async () => {
    const friend = node('n2', ['127.0.0.2']);
    expect(await handshake({ cert: friend.certificatePem, key: friend.privateKeyPem })).toBe(true);
    const strangerAuthority = createAuthority(CLUSTER, NOW, random);
    const stranger = createNodeCertificate(
      strangerAuthority,
      { nodeId: 'n2', clusterId: CLUSTER, addresses: [] },
      NOW,
      random,
    );
    expect(await handshake({ cert: stranger.certificatePem, key: stranger.privateKeyPem })).toBe(false);
    expect(await handshake({})).toBe(false);
  });
});
