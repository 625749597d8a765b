import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIPv4 } from 'node:net';
import type { RandomSource } from '../../base/random.ts';
import {
  bitString,
  explicitTag,
  implicitTag,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  set,
  time,
  trueValue,
  utf8String,
} from './der.ts';

/**
 * The cluster's own public key infrastructure (RFC 5280): one authority per cluster, one certificate per
 * node. ECDSA on P-256 with SHA-256 throughout.
 */

const DAY_MS = 86_400_000;
const LIFETIME_MS = 3650 * DAY_MS;
/** Certificates count from a day ago, so that a node whose clock is slow accepts them. */
const BACKDATE_MS = DAY_MS;
const SERIAL_BYTES = 16;

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** A certificate and its private key, both in PEM. */
export interface Credentials {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

export interface CertificateTime {
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: number;
}

interface Name {
  readonly commonName: string;
  readonly organization: string;
}

const authorityName = (clusterId: string): Name => ({
  commonName: 'bootfabric cluster authority',
  organization: clusterId,
});

/** A new authority that can sign nothing but certificates of nodes, valid for ten years. */
export function createAuthority(
  clusterId: string,
  { nowMs }: CertificateTime,
  random: RandomSource,
): Credentials {
  const { publicKey, privateKey } = newKeyPair();
  const name = authorityName(clusterId);
  const extensions = [
    extension(OID.basicConstraints, sequence(trueValue(), integer(Uint8Array.of(0))), { critical: true }),
    // keyCertSign (5) and cRLSign (6), counted from the most significant bit.
    extension(OID.keyUsage, bitString(Uint8Array.of(0x06), 1), { critical: true }),
    extension(OID.subjectKeyIdentifier, octetString(keyIdentifier(publicKey))),
  ];
  const certificatePem = signCertificate({
    issuer: name,
    subject: name,
    publicKey,
    signingKey: privateKey,
    extensions,
    nowMs,
    random,
  });
  return { certificatePem, privateKeyPem: privateKeyPem(privateKey) };
}

/**
 * A certificate with which a node is both server and client: CN is its node id, O the cluster id, and the
 * subject alternative names are the addresses (IPv4 or DNS names) under which others reach it.
 */
export function createNodeCertificate(
  authority: Credentials,
  node: { readonly nodeId: string; readonly clusterId: string; readonly addresses: readonly string[] },
  { nowMs }: CertificateTime,
  random: RandomSource,
): Credentials {
  const { publicKey, privateKey } = newKeyPair();
  const certificatePem = signNodeCertificate(authority, { ...node, publicKey }, { nowMs }, random);
  return { certificatePem, privateKeyPem: privateKeyPem(privateKey) };
}

/** The same for a key pair of which only the public half is known here: the other half never leaves its node. */
export function signNodeCertificate(
  authority: Pick<Credentials, 'privateKeyPem'>,
  node: {
    readonly nodeId: string;
    readonly clusterId: string;
    readonly addresses: readonly string[];
    readonly publicKey: KeyObject;
  },
  { nowMs }: CertificateTime,
  random: RandomSource,
): string {
  const { publicKey } = node;
  const signingKey = createPrivateKey(authority.privateKeyPem);
  const authorityKey = createPublicKey(signingKey);
  const extensions = [
    extension(OID.basicConstraints, sequence(), { critical: true }),
    // digitalSignature (0).
    extension(OID.keyUsage, bitString(Uint8Array.of(0x80), 7), { critical: true }),
    extension(
      OID.extendedKeyUsage,
      sequence(objectIdentifier(OID.serverAuth), objectIdentifier(OID.clientAuth)),
    ),
    extension(OID.subjectAltName, sequence(...node.addresses.map((address) => generalName(address)))),
    extension(OID.subjectKeyIdentifier, octetString(keyIdentifier(publicKey))),
    extension(OID.authorityKeyIdentifier, sequence(implicitTag(0, keyIdentifier(authorityKey)))),
  ];
  return signCertificate({
    issuer: authorityName(node.clusterId),
    subject: { commonName: node.nodeId, organization: node.clusterId },
    publicKey,
    signingKey,
    extensions,
    nowMs,
    random,
  });
}

/** For one who has the public half signed elsewhere. */
export function createKeyPair(): { readonly publicKeyPem: string; readonly privateKeyPem: string } {
  const { publicKey, privateKey } = newKeyPair();
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    privateKeyPem: privateKeyPem(privateKey),
  };
}

/** SHA-256 of a certificate as it is signed (DER), in hexadecimal: what a join token says of the authority. */
export function certificateSha256(certificatePem: string): string {
  return createHash('sha256').update(new X509Certificate(certificatePem).raw).digest('hex');
}

function newKeyPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function privateKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function subjectPublicKeyInfo(key: KeyObject): Uint8Array {
  return key.export({ type: 'spki', format: 'der' });
}

/** RFC 7093 §2 method 4: leftmost 160 bits of the SHA-256 of the SubjectPublicKeyInfo. */
function keyIdentifier(key: KeyObject): Uint8Array {
  return createHash('sha256').update(subjectPublicKeyInfo(key)).digest().subarray(0, 20);
}

function distinguishedName(name: Name): Uint8Array {
  const attribute = (oid: string, value: string): Uint8Array =>
    set(sequence(objectIdentifier(oid), utf8String(value)));
  return sequence(attribute(OID.organization, name.organization), attribute(OID.commonName, name.commonName));
}

/** RFC 5280 §4.2.1.6: dNSName is [2], iPAddress is [7]. */
function generalName(address: string): Uint8Array {
  if (isIPv4(address)) return implicitTag(7, Uint8Array.from(address.split('.'), Number));
  return implicitTag(2, Buffer.from(address, 'latin1'));
}

function extension(oid: string, value: Uint8Array, options: { critical?: boolean } = {}): Uint8Array {
  const critical = options.critical === true ? [trueValue()] : [];
  return sequence(objectIdentifier(oid), ...critical, octetString(value));
}

interface CertificateParts {
  readonly issuer: Name;
  readonly subject: Name;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly extensions: readonly Uint8Array[];
  readonly nowMs: number;
  readonly random: RandomSource;
}

/** RFC 5280 §4.1: Certificate = to be signed, algorithm, signature. */
function signCertificate(parts: CertificateParts): string {
  const algorithm = sequence(objectIdentifier(OID.ecdsaWithSha256));
  const serial = parts.random.bytes(SERIAL_BYTES);
  // §4.1.2.2: positive, and never zero.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const notBeforeMs = parts.nowMs - BACKDATE_MS;
  const toBeSigned = sequence(
    explicitTag(0, integer(Uint8Array.of(2))),
    integer(serial),
    algorithm,
    distinguishedName(parts.issuer),
    sequence(time(notBeforeMs), time(notBeforeMs + LIFETIME_MS)),
    distinguishedName(parts.subject),
    subjectPublicKeyInfo(parts.publicKey),
    explicitTag(3, sequence(...parts.extensions)),
  );
  const signature = sign('sha256', toBeSigned, parts.signingKey);
  return toPem(sequence(toBeSigned, algorithm, bitString(signature)));
}

function toPem(bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
