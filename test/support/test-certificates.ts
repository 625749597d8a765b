import { webcrypto } from 'node:crypto';
import './reflect-metadata.ts';

/** A certificate authority that lasts for one test run. */
export interface TestAuthority {
  readonly ca: string;
  issue(commonName: string, organization: string): Promise<{ ca: string; cert: string; key: string }>;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const VALID = { notBefore: new Date('2020-01-01'), notAfter: new Date('2120-01-01') };

export async function makeTestAuthority(name = 'test authority'): Promise<TestAuthority> {
  // Loaded late, since it needs the import above to have run.
  const x509 = await import('@peculiar/x509');
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    ...VALID,
    serialNumber: '01',
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  let serial = 2;
  const ca = root.toString('pem');
  return {
    ca,
    async issue(commonName, organization) {
      const own = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
      const certificate = await x509.X509CertificateGenerator.create({
        ...VALID,
        serialNumber: (serial++).toString(16).padStart(2, '0'),
        subject: `CN=${commonName}, O=${organization}`,
        issuer: root.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: ALGORITHM,
      });
      const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', own.privateKey));
      const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----\n`;
      return { ca, cert: certificate.toString('pem'), key };
    },
  };
}
