import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestCertificate } from './test-certificates.ts';

/** Options of a certificate. */
export interface PkiRequest {
  readonly commonName: string;
  /** The issuer; absent for a self-signed one. */
  readonly issuer?: TestCertificate;
  /** Reuses the key of another certificate. */
  readonly keyOf?: TestCertificate;
  /** Lines of OpenSSL's configuration, after those that disable key identifiers. */
  readonly extensions: readonly string[];
  readonly withKeyIds?: boolean;
  readonly expired?: boolean;
}

export const authorityExtensions: readonly string[] = ['basicConstraints=critical,CA:TRUE'];

/** Extensions of a server with the name `kubernetes.default.svc`. */
export const serverExtensions: readonly string[] = [
  'basicConstraints=CA:FALSE',
  'extendedKeyUsage=serverAuth',
  'subjectAltName=DNS:kubernetes.default.svc,IP:127.0.0.1',
];

/** Creates any certificate with the machine's openssl, including those of old or odd authorities. */
export function issueTestCertificate(request: PkiRequest): TestCertificate {
  const { commonName, issuer, keyOf, extensions, withKeyIds, expired } = request;
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-pki-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const read = (file: string) => readFileSync(join(folder, file), 'utf8');
  try {
    const keyIds = withKeyIds === true ? [] : ['subjectKeyIdentifier=none', 'authorityKeyIdentifier=none'];
    const config = ['[req]', 'distinguished_name=name', '[name]', '[extensions]', ...keyIds, ...extensions, ''];
    writeFileSync(join(folder, 'request.cnf'), config.join('\n'));
    if (keyOf === undefined)
      openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-out', 'key.pem');
    else writeFileSync(join(folder, 'key.pem'), keyOf.keyPem);
    openssl(
      'req',
      '-new',
      '-config',
      'request.cnf',
      '-key',
      'key.pem',
      '-subj',
      `/CN=${commonName}`,
      '-out',
      'csr.pem',
    );
    if (issuer !== undefined) writeFileSync(join(folder, 'issuer.pem'), issuer.certPem + issuer.keyPem);
    const signer = issuer === undefined ? ['-signkey', 'key.pem'] : ['-CA', 'issuer.pem', '-CAcreateserial'];
    const days = ['-days', expired === true ? '-1' : '2'];
    const from = ['-extfile', 'request.cnf', '-extensions', 'extensions'];
    openssl('x509', '-req', '-in', 'csr.pem', '-out', 'cert.pem', ...signer, ...days, ...from);
    return { certPem: read('cert.pem'), keyPem: read('key.pem') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
