import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate with its key, both PEM. */
export interface TestCertificate {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface TestCertificateRequest {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly uid?: string;
  readonly dnsNames?: readonly string[];
  readonly usage?: 'serverAuth' | 'clientAuth';
  /** No SAN extension at all. */
  readonly withoutNames?: boolean;
  readonly expired?: boolean;
  /** Contains no identifier of the issuer's key, so that only the signature tells authorities of one name apart. */
  readonly withoutKeyId?: boolean;
}

/** A certificate authority for one test file. */
export interface TestAuthority {
  readonly caPem: string;
  issue(request: TestCertificateRequest): TestCertificate;
}

/** Creates an authority with the machine's openssl. Its key is only in memory and in folders that are removed again. */
export function createTestAuthority(commonName: string): TestAuthority {
  const ca = inFolder((folder) => {
    writeFileSync(join(folder, 'request.cnf'), requestConfig(commonName, ['basicConstraints=critical,CA:TRUE']));
    openssl(folder, ['req', '-x509', ...newKey, '-out', 'cert.pem', '-days', '2']);
    return readCertificate(folder);
  });
  return {
    caPem: ca.certPem,
    issue: (request) =>
      inFolder((folder) => {
        writeFileSync(join(folder, 'ca.crt'), ca.certPem);
        writeFileSync(join(folder, 'ca.key'), ca.keyPem);
        writeFileSync(join(folder, 'request.cnf'), requestConfig(request.commonName, leafExtensions(request), request));
        openssl(folder, ['req', '-new', ...newKey, '-out', 'request.csr']);
        const issuer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
        const extensions = ['-extfile', 'request.cnf', '-extensions', 'extensions'];
        const days = ['-days', request.expired === true ? '-1' : '2'];
        openssl(folder, ['x509', '-req', '-in', 'request.csr', '-out', 'cert.pem', ...issuer, ...extensions, ...days]);
        return readCertificate(folder);
      }),
  };
}

function leafExtensions({
  dnsNames = [],
  usage = 'serverAuth',
  withoutNames,
  withoutKeyId,
}: TestCertificateRequest): string[] {
  const names = ['IP:127.0.0.1', ...dnsNames.map((name) => `DNS:${name}`)].join(',');
  const extensions = ['basicConstraints=CA:FALSE', `extendedKeyUsage=${usage}`];
  if (withoutKeyId === true) extensions.push('authorityKeyIdentifier=none');
  return withoutNames === true ? extensions : [...extensions, `subjectAltName=${names}`];
}

function requestConfig(
  commonName: string,
  extensions: readonly string[],
  { organizations = [], uid }: Partial<TestCertificateRequest> = {},
): string {
  return [
    'oid_section=oids',
    '[oids]',
    'userUid=1.3.6.1.4.1.57683.2',
    '[req]',
    'utf8=yes',
    'string_mask=utf8only',
    'distinguished_name=name',
    'prompt=no',
    'x509_extensions=extensions',
    '[name]',
    ...organizations.map((organization, at) => `${at}.O="${organization}"`),
    ...(uid === undefined ? [] : [`userUid=${uid}`]),
    ...(commonName === '' ? ['OU=none'] : [`CN="${commonName}"`]),
    '[extensions]',
    ...extensions,
    '',
  ].join('\n');
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
const newKey = ['-config', 'request.cnf', ...curve, '-nodes', '-keyout', 'key.pem'];

function openssl(folder: string, args: readonly string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
}

function readCertificate(folder: string): TestCertificate {
  return {
    certPem: readFileSync(join(folder, 'cert.pem'), 'utf8'),
    keyPem: readFileSync(join(folder, 'key.pem'), 'utf8'),
  };
}

function inFolder<Result>(use: (folder: string) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-certificates-'));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
