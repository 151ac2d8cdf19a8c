import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { runCommand } from './run-command.ts';

/** A container image of one layer. */
export interface ImageContents {
  /** Folder whose contents are the image's file system. */
  readonly rootfs: string;
  /** All names that the image has in the archive. */
  readonly names: readonly string[];
  readonly architecture?: 'amd64' | 'arm64';
  readonly config: {
    readonly Entrypoint?: readonly string[];
    readonly Env?: readonly string[];
    readonly User?: string;
    readonly WorkingDir?: string;
    readonly ExposedPorts?: Readonly<Record<string, object>>;
    readonly Labels?: Readonly<Record<string, string>>;
  };
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Arguments with which GNU tar writes the same bytes for the same files, regardless of their owner and date. */
const sameBytes = ['--sort=name', '--format=gnu', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
const mediaType = (name: string) => `application/vnd.oci.image.${name}`;
const sha256 = (data: Uint8Array | string) => createHash('sha256').update(data).digest('hex');

/**
 * Writes an OCI archive, which containerd, podman, buildah and skopeo read. The same contents give the same bytes. It
 * needs only GNU tar, no container engine.
 */
export function writeOciArchive({ rootfs, names, architecture = 'amd64', config }: ImageContents, file: string): void {
  mkdirSync(dirname(file), { recursive: true });
  const layout = mkdtempSync(join(tmpdir(), 'peerdiscovery-oci-'));
  const partial = `${file}.${process.pid}`;
  try {
    const blobs = join(layout, 'blobs/sha256');
    mkdirSync(blobs, { recursive: true });
    const addBlob = (type: string, data: Uint8Array | string): Descriptor => {
      const digest = sha256(data);
      writeFileSync(join(blobs, digest), data);
      return { mediaType: mediaType(type), digest: `sha256:${digest}`, size: Buffer.byteLength(data) };
    };
    const layerFile = join(layout, 'layer.tar');
    runCommand(['tar', ...sameBytes, '-cf', layerFile, '-C', rootfs, '.']);
    const layer = addBlob('layer.v1.tar', readFileSync(layerFile));
    rmSync(layerFile);
    const image = { architecture, os: 'linux', config, rootfs: { type: 'layers', diff_ids: [layer.digest] } };
    const configured = addBlob('config.v1+json', JSON.stringify(image));
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaType('manifest.v1+json'),
      config: configured,
      layers: [layer],
    };
    const described = addBlob('manifest.v1+json', JSON.stringify(manifest));
    const manifests = names.map((name) => ({
      ...described,
      annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name },
    }));
    const index = { schemaVersion: 2, mediaType: mediaType('index.v1+json'), manifests };
    writeFileSync(join(layout, 'index.json'), JSON.stringify(index));
    writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    // The umask determines the modes of these files.
    const modes = '--mode=u=rwX,go=rX';
    runCommand(['tar', ...sameBytes, modes, '-cf', partial, '-C', layout, 'blobs', 'index.json', 'oci-layout']);
    renameSync(partial, file);
  } finally {
    rmSync(layout, { recursive: true, force: true });
    rmSync(partial, { force: true });
  }
}
