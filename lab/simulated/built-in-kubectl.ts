import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { sendRequest } from './send-request.ts';
import type { SimulatedControlPlane } from './simulated-control-plane.ts';

/** The few kubectl commands of the demo, for machines without kubectl. */
export interface Kubectl {
  run(
    target: string,
    args: readonly string[],
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
  /** The same request as a curl command, for readers. */
  describe(target: string, args: readonly string[]): string;
}

const collections: Readonly<Record<string, string>> = {
  namespace: '/api/v1/namespaces',
  peerdiscovery: '/apis/peerdiscovery.dev/v1alpha1/peerdiscoveries',
  resourceclaims: '/apis/resource.k8s.io/v1/resourceclaims',
};
const tableType = 'application/json;as=Table;v=v1;g=meta.k8s.io';

interface Table {
  readonly columnDefinitions: readonly { readonly name: string; readonly priority: number }[];
  readonly rows: readonly { readonly cells: readonly unknown[] }[];
}

/**
 * Supports `get RESOURCE [NAME] [-o wide|yaml|json] [--namespace NS]` and `get --raw PATH`. The server formats the
 * tables.
 */
export function createBuiltInKubectl(fleet: SimulatedControlPlane, urlOf: (target: string) => string): Kubectl {
  const ca = readFileSync(fleet.caFile);
  writeFileSync(join(fleet.folder, 'token'), fleet.tokens.admin, { mode: 0o600 });
  const get = (target: string, path: string, accept: string) =>
    sendRequest({
      url: urlOf(target) + path,
      ca,
      serverName: target === 'proxy' ? 'localhost' : 'kubernetes.default.svc',
      token: fleet.tokens.admin,
      headers: { accept },
    });
  return {
    async run(target, args) {
      const { path, accept, output } = readArgs(args);
      const answer = await get(target, path, accept).catch((error: unknown) => ({ status: 0, body: String(error) }));
      if (answer.status !== 200) return { code: 1, stdout: '', stderr: `${errorOf(answer.status, answer.body)}\n` };
      const stdout =
        output === 'table' || output === 'wide' ? print(JSON.parse(answer.body), output === 'wide') : answer.body;
      return { code: 0, stdout: output === 'yaml' ? stringify(JSON.parse(answer.body)) : stdout, stderr: '' };
    },
    describe(target, args) {
      const { path, accept } = readArgs(args);
      return `curl --cacert $LAB/ca.crt -H "Authorization: Bearer $(cat $LAB/token)" -H 'Accept: ${accept}' ${urlOf(target)}${path}`;
    },
  };
}

function readArgs(args: readonly string[]): {
  readonly path: string;
  readonly accept: string;
  readonly output: string;
} {
  const after = (flag: string) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined);
  const raw = after('--raw');
  if (raw !== undefined) return { path: raw, accept: 'application/json', output: 'raw' };
  const [verb, resource = '', third = ''] = args;
  const collection = collections[resource];
  if (verb !== 'get' || collection === undefined) throw new Error(`the demo's own kubectl cannot ${args.join(' ')}`);
  const namespace = after('--namespace');
  const at = collection.lastIndexOf('/');
  const scoped =
    namespace === undefined ? collection : `${collection.slice(0, at)}/namespaces/${namespace}${collection.slice(at)}`;
  const output = after('-o') ?? 'table';
  const accept = output === 'table' || output === 'wide' ? tableType : 'application/json';
  return { path: third === '' || third.startsWith('-') ? scoped : `${scoped}/${third}`, accept, output };
}

function errorOf(status: number, body: string): string {
  try {
    const { reason, message } = JSON.parse(body) as { readonly reason?: string; readonly message?: string };
    return `Error from server (${reason}): ${message} (HTTP ${status})`;
  } catch {
    return `Error from server: ${body.trim()} (HTTP ${status})`;
  }
}

function print({ columnDefinitions, rows }: Table, wide: boolean): string {
  const shown = columnDefinitions.flatMap(({ priority }, index) => (wide || priority === 0 ? [index] : []));
  const lines = [
    shown.map((index) => columnDefinitions[index]?.name.toUpperCase() ?? ''),
    ...rows.map(({ cells }) => shown.map((index) => String(cells[index] ?? ''))),
  ];
  if (rows.length === 0) return 'No resources found\n';
  const widths = shown.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join('   ')
          .trimEnd()}\n`,
    )
    .join('');
}
