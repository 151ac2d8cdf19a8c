import type { GroupDiscovery } from '../domain/discovery-document.ts';
import { InvalidDiscoveryError, parseDiscoveryList } from '../domain/parse-discovery.ts';
import { messageOf } from '../runtime/message-of.ts';
import { type PluginContext, PluginError } from './ports.ts';

const cure =
  "save the aggregated form with: curl -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' https://SERVER:6443/apis > FILE";

/** Reads a saved discovery document. */
export async function readDocument(
  file: string,
  { readFile }: Pick<PluginContext, 'readFile'>,
): Promise<readonly GroupDiscovery[]> {
  const text = await readText(file, { readFile });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new PluginError(`${file} is not JSON`, cure, { cause: error });
  }
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  if (kind !== 'APIGroupDiscoveryList')
    throw new PluginError(`${file} is ${JSON.stringify(kind ?? 'no object')}, not an APIGroupDiscoveryList`, cure);
  try {
    return parseDiscoveryList(value);
  } catch (error) {
    if (!(error instanceof InvalidDiscoveryError)) throw error;
    throw new PluginError(`${file} is not a valid APIGroupDiscoveryList: ${error.message}`, cure, { cause: error });
  }
}

/** Reads a file that the user named; `-` is standard input. */
export async function readText(file: string, { readFile }: Pick<PluginContext, 'readFile'>): Promise<string> {
  try {
    return await readFile(file);
  } catch (error) {
    const why = messageOf(error);
    throw new PluginError(`${file} cannot be read: ${why}`, 'check the path and its permissions', { cause: error });
  }
}
