import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1ConfigMap, V1KeyToPath, V1Pod, V1Secret, V1Volume } from '@kubernetes/client-node';

/** The requests of a kubelet to the API server. */
export interface VolumeSource {
  secret(namespace: string, name: string): Promise<V1Secret | undefined>;
  configMap(namespace: string, name: string): Promise<V1ConfigMap | undefined>;
  /** Requests a token that is bound to the Pod. */
  token(pod: V1Pod, audience: string | undefined, seconds: number | undefined): Promise<string>;
}

type Files = ReadonlyMap<string, Buffer>;

/**
 * Writes every volume of a Pod into folders, and replaces each file atomically. The result names a Secret or ConfigMap
 * that does not exist yet; the Pod must wait for it, as on a real node.
 */
export async function writeVolumes(
  pod: V1Pod,
  folder: string,
  source: VolumeSource,
): Promise<{ readonly folders: ReadonlyMap<string, string>; readonly missing: readonly string[] }> {
  const folders = new Map<string, string>();
  const missing: string[] = [];
  for (const volume of pod.spec?.volumes ?? []) {
    const target = join(folder, 'volumes', volume.name);
    mkdirSync(target, { recursive: true });
    // As in a kubelet, regardless of the container's user.
    if (volume.emptyDir !== undefined) chmodSync(target, 0o777);
    folders.set(volume.name, target);
    const files = await filesOf(pod, volume, target, source, missing);
    for (const [name, content] of files) {
      const path = join(target, name);
      if (existsSync(path) && readFileSync(path).equals(content)) continue;
      writeFileSync(`${path}.new`, content, { mode: 0o644 });
      renameSync(`${path}.new`, path);
    }
  }
  return { folders, missing };
}

async function filesOf(
  pod: V1Pod,
  volume: V1Volume,
  target: string,
  source: VolumeSource,
  missing: string[],
): Promise<Files> {
  const namespace = pod.metadata?.namespace ?? '';
  const secret = async (
    name: string,
    items?: readonly V1KeyToPath[],
    optional?: boolean,
  ): Promise<[string, Buffer][]> => {
    const found = await source.secret(namespace, name);
    if (found === undefined && optional !== true) missing.push(`Secret ${namespace}/${name}`);
    return pick(found?.data ?? {}, 'base64', items);
  };
  const configMap = async (
    name: string,
    items?: readonly V1KeyToPath[],
    optional?: boolean,
  ): Promise<[string, Buffer][]> => {
    const found = await source.configMap(namespace, name);
    if (found === undefined && optional !== true) missing.push(`ConfigMap ${namespace}/${name}`);
    return pick(found?.data ?? {}, 'utf8', items);
  };
  if (volume.secret?.secretName !== undefined)
    return new Map(await secret(volume.secret.secretName, volume.secret.items, volume.secret.optional));
  if (volume.configMap?.name !== undefined)
    return new Map(await configMap(volume.configMap.name, volume.configMap.items, volume.configMap.optional));
  if (volume.emptyDir !== undefined) return new Map();
  if (volume.projected === undefined) throw new Error(`the lab does not know the kind of volume ${volume.name}`);
  const files = new Map<string, Buffer>();
  for (const part of volume.projected.sources ?? []) {
    const entries: [string, Buffer][] = [];
    if (part.secret?.name !== undefined) entries.push(...(await secret(part.secret.name, part.secret.items)));
    if (part.configMap?.name !== undefined)
      entries.push(...(await configMap(part.configMap.name, part.configMap.items)));
    // Tokens are valid for an hour, which is longer than the lab runs.
    if (part.serviceAccountToken !== undefined && !existsSync(join(target, part.serviceAccountToken.path))) {
      const { audience, expirationSeconds, path } = part.serviceAccountToken;
      entries.push([path, Buffer.from(await source.token(pod, audience, expirationSeconds))]);
    }
    for (const { path, fieldRef } of part.downwardAPI?.items ?? [])
      if (fieldRef?.fieldPath === 'metadata.namespace') entries.push([path, Buffer.from(namespace)]);
    for (const [path, content] of entries) files.set(path, content);
  }
  return files;
}

function pick(
  data: Readonly<Record<string, string>>,
  encoding: 'base64' | 'utf8',
  items: readonly V1KeyToPath[] = Object.keys(data).map((key) => ({ key, path: key })),
): [string, Buffer][] {
  return items.flatMap(({ key, path }) => {
    const value = data[key];
    return value === undefined ? [] : [[path, Buffer.from(value, encoding)] as [string, Buffer]];
  });
}
