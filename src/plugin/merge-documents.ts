import type { GroupDiscovery } from '../domain/discovery-document.ts';
import { encodeDiscoveryList } from '../domain/encode-discovery.ts';
import { mergeDiscovery } from '../domain/merge-discovery.ts';
import { InvalidDiscoveryError, parseDiscoveryList } from '../domain/parse-discovery.ts';
import { readFlags } from '../flags/read-flags.ts';
import { discoveryEtag } from '../runtime/discovery-etag.ts';
import { messageOf } from '../runtime/message-of.ts';

/** The command's input and output. It reads `-`, standard input, at most once. */
export interface MergeIo {
  readFile(path: string): Promise<string>;
  stdout(text: string): void;
  stderr(text: string): void;
}

const options = {
  local: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
} as const;

const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer';

const usage = `Merges saved discovery documents of kube-apiservers exactly as kube-apiserver does.

Usage:
  peerdiscovery merge --local ID ID=FILE [ID=FILE ...]

Each FILE is what one server answers at /apis, an APIGroupDiscoveryList as JSON; "-" reads standard input. ID is the
name of that server's identity Lease: the order of the IDs decides which server's fields win. The merged list goes to
standard output and its ETag to standard error.

Flags:
  --local ID   the server whose answer to compute; one of the IDs
  -h, --help   print this text

Examples:
  # What master-1 would answer if it merged master-2's document into its own
  peerdiscovery merge --local master-1 master-1=apis-1.json master-2=apis-2.json > merged.json
  # One of them from another program
  kubectl get --raw /apis | peerdiscovery merge --local a a=- b=apis-b.json

Save a document with:
  curl -H 'Accept: ${accept}' \\
    --cacert ca.crt --cert admin.crt --key admin.key https://SERVER:6443/apis > FILE
`;

/** Runs `peerdiscovery merge` and returns its exit code: 0, 1 for an unusable document, 2 for wrong usage. */
export async function runMerge(args: readonly string[], io: MergeIo): Promise<number> {
  const command = readCommand(args);
  if (command.kind === 'help') {
    io.stdout(usage);
    return 0;
  }
  if (command.kind === 'wrong') {
    for (const problem of command.problems) io.stderr(`peerdiscovery merge: ${problem}\n`);
    io.stderr('Run "peerdiscovery merge --help" for usage.\n');
    return 2;
  }

  const servers = new Map<string, readonly GroupDiscovery[]>();
  let failed = false;
  for (const [id, file] of command.files) {
    const document = await readDocument(file, io);
    if (document.kind === 'bad') {
      failed = true;
      io.stderr(`peerdiscovery merge: ${file === '-' ? 'standard input' : file} (for ${id}): ${document.message}\n`);
    } else if (id === command.local) servers.set(id, document.groups);
    else if (countsAsPeer(document.groups)) servers.set(id, peerGroups(document.groups));
  }
  if (failed) return 1;
  const merged = mergeDiscovery(command.local, servers);
  io.stdout(encodeDiscoveryList(merged, { typeMeta: true }));
  io.stderr(`${discoveryEtag(merged)}\n`);
  return 0;
}

type Command =
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly problems: readonly string[] }
  | { readonly kind: 'merge'; readonly local: string; readonly files: ReadonlyMap<string, string> };

function readCommand(args: readonly string[]): Command {
  const given = readFlags(args, options, { takesArguments: true });
  if (given.problems.length > 0) return { kind: 'wrong', problems: given.problems };
  if (given.help) return { kind: 'help' };
  const { problems, arguments: documents } = given;

  const files = new Map<string, string>();
  for (const argument of documents) {
    const at = argument.indexOf('=');
    const id = argument.slice(0, at);
    const file = argument.slice(at + 1);
    if (at < 1 || file === '')
      problems.push(`${JSON.stringify(argument)} is not ID=FILE, such as master-1=master-1.json`);
    else if (files.has(id)) problems.push(`${id} is given twice; each server has one document`);
    else files.set(id, file);
  }
  if (documents.length === 0) problems.push('no documents; name at least one as ID=FILE');
  if ([...files.values()].filter((file) => file === '-').length > 1)
    problems.push('"-" is given twice, but standard input can be read once; save the others to files');
  const [local, ...more] = given.list('local');
  if (local === undefined)
    return { kind: 'wrong', problems: ['--local is missing; give it one of the IDs', ...problems] };
  if (more.length > 0) problems.push('--local is given twice; one server is the local one');
  else if (problems.length === 0 && !files.has(local))
    problems.push(`--local ${local} is none of the IDs; it must be one of ${[...files.keys()].join(', ')}`);
  return problems.length > 0 ? { kind: 'wrong', problems } : { kind: 'merge', local, files };
}

type Document =
  | { readonly kind: 'ok'; readonly groups: readonly GroupDiscovery[] }
  | { readonly kind: 'bad'; readonly message: string };

async function readDocument(file: string, io: MergeIo): Promise<Document> {
  let text: string;
  try {
    text = await io.readFile(file);
  } catch (error) {
    return bad(`cannot be read: ${messageOf(error)}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return bad(`is not JSON (${messageOf(error)}); save the answer as it is, decompressed and without headers`);
  }
  const problem = findWrongKind(value);
  if (problem !== undefined) return bad(problem);
  try {
    return { kind: 'ok', groups: parseDiscoveryList(value) };
  } catch (error) {
    if (error instanceof InvalidDiscoveryError) return bad(`is not a valid APIGroupDiscoveryList: ${error.message}`);
    throw error;
  }
}

function findWrongKind(value: unknown): string | undefined {
  const cure = `fetch /apis with the header "Accept: ${accept}"`;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return `is not an APIGroupDiscoveryList; ${cure}`;
  const { kind, apiVersion, message } = value as Record<string, unknown>;
  if (kind === 'APIGroupList' || kind === 'APIVersions' || kind === 'APIResourceList')
    return `is legacy discovery (${kind}), which does not list every resource; ${cure}`;
  if (kind === 'Status') return `is an error of the server, not its discovery: ${show(message)}; ${cure}`;
  if (kind !== 'APIGroupDiscoveryList') return `has kind ${show(kind)} instead of APIGroupDiscoveryList; ${cure}`;
  if (apiVersion === 'apidiscovery.k8s.io/v2' || apiVersion === 'apidiscovery.k8s.io/v2beta1') return undefined;
  return `has apiVersion ${show(apiVersion)}; expected apidiscovery.k8s.io/v2 or apidiscovery.k8s.io/v2beta1; ${cure}`;
}

/**
 * A fetched peer that serves nothing at all does not count. Source: `syncPeerDiscoveryCache` of k8s.io/apiserver 0.36.
 */
function countsAsPeer(groups: readonly GroupDiscovery[]): boolean {
  return groups.some(({ name, versions }) => name !== '' || versions?.some(({ resources }) => resources?.length));
}

/**
 * The groups of a peer that kube-apiserver keeps: not the core group, which `/apis` never lists, and only the first of
 * two with one name. Source: `fetchNewDiscoveryFor` in `pkg/util/peerproxy/peer_discovery.go` of k8s.io/apiserver 0.36.
 */
function peerGroups(groups: readonly GroupDiscovery[]): readonly GroupDiscovery[] {
  const kept = new Map<string, GroupDiscovery>();
  for (const group of groups) if (group.name !== '' && !kept.has(group.name)) kept.set(group.name, group);
  return [...kept.values()];
}

function bad(message: string): Document {
  return { kind: 'bad', message };
}

function show(value: unknown): string {
  return value === undefined ? '(none)' : JSON.stringify(value);
}
