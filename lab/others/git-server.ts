import { spawn, spawnSync } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';

/** A git repository whose working tree is a folder. Others clone it over HTTP. */
export interface GitServer {
  readonly url: string;
  /** Commits everything in the folder to branch `main`. Resolves to the id of the commit. */
  commit(message: string): string;
  stop(): Promise<void>;
}

/** The service of git's smart HTTP protocol that a clone or fetch uses. */
const service = 'git-upload-pack';

/** Turns the folder into a repository, and serves it read-only over git's smart HTTP protocol. */
export async function serveGit(folder: string, host: string): Promise<GitServer> {
  const identity = ['-c', 'user.name=lab', '-c', 'user.email=lab@example.com'];
  const git = (...args: readonly string[]): string => {
    const { status, stdout, stderr } = spawnSync('git', [...identity, ...args], { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`git ${args.join(' ')} ended with ${status}: ${stderr}${stdout}`);
    return stdout.trim();
  };
  git('init', '--quiet', '--initial-branch=main');
  const server = createServer((request, response) => {
    answer(folder, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${port}/repository.git`,
    commit(message) {
      git('add', '--all');
      git('commit', '--quiet', '--message', message);
      return git('rev-parse', 'HEAD');
    },
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => void server.close(() => resolve()));
    },
  };
}

async function answer(folder: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://git');
  const version = request.headers['git-protocol'];
  const env = { ...process.env, ...(version === undefined ? {} : { GIT_PROTOCOL: String(version) }) };
  const uploadPack = (...args: readonly string[]) =>
    spawn('git', ['upload-pack', '--stateless-rpc', ...args, folder], { env, stdio: ['pipe', 'pipe', 'ignore'] });
  if (request.method === 'GET' && pathname.endsWith('/info/refs') && searchParams.get('service') === service) {
    response.writeHead(200, { 'Content-Type': `application/x-${service}-advertisement` });
    if (version !== 'version=2') response.write(`001e# service=${service}\n0000`);
    await pipeline(uploadPack('--advertise-refs').stdout, response);
  } else if (request.method === 'POST' && pathname.endsWith(`/${service}`)) {
    response.writeHead(200, { 'Content-Type': `application/x-${service}-result` });
    const child = uploadPack();
    const body = request.headers['content-encoding'] === 'gzip' ? request.pipe(createGunzip()) : request;
    await Promise.all([pipeline(body, child.stdin), pipeline(child.stdout, response)]);
  } else response.writeHead(404).end();
}
