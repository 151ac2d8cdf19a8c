import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of a certificate and its key, both PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

const days = '90';

function openssl(args: readonly string[]): void {
  const { status, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' });
  if (error !== undefined) throw new Error('cannot run openssl: install it', { cause: error });
  if (status !== 0) throw new Error(`openssl ${args[0]} ended with ${status}: ${stderr}`);
}

function newKey(path: string): void {
  openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', path]);
}

/** Creates a certificate authority in a folder. */
export function makeAuthority(folder: string, name: string): KeyPair {
  const pair = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  newKey(pair.key);
  openssl(['req', '-x509', '-new', '-key', pair.key, '-subj', `/CN=${name}`, '-days', days, '-out', pair.cert]);
  return pair;
}

/** Issues a certificate for a subject such as `/O=system:masters/CN=admin`, with subject alternative names if given. */
export function issue(
  folder: string,
  name: string,
  authority: KeyPair,
  subject: string,
  sans: readonly string[] = [],
  validDays = days,
): KeyPair {
  const pair = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  const request = join(folder, `${name}.csr`);
  const extensions = join(folder, `${name}.ext`);
  newKey(pair.key);
  openssl(['req', '-new', '-key', pair.key, '-subj', subject, '-out', request]);
  const usage = 'extendedKeyUsage=serverAuth,clientAuth\n';
  writeFileSync(extensions, sans.length > 0 ? `${usage}subjectAltName=${sans.join(',')}\n` : usage);
  const signer = ['-CA', authority.cert, '-CAkey', authority.key, '-CAcreateserial'];
  openssl(['x509', '-req', '-in', request, ...signer, '-days', validDays, '-extfile', extensions, '-out', pair.cert]);
  return pair;
}

/** Creates the key pair that signs ServiceAccount tokens. */
export function makeSigningKey(folder: string): { readonly publicKey: string; readonly privateKey: string } {
  const privateKey = join(folder, 'service-account.key');
  const publicKey = join(folder, 'service-account.pub');
  newKey(privateKey);
  openssl(['pkey', '-in', privateKey, '-pubout', '-out', publicKey]);
  return { publicKey, privateKey };
}

/** A PEM file as base64, for a kubeconfig. */
export function inlined(path: string): string {
  return readFileSync(path).toString('base64');
}
