import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildRootfs } from './build-rootfs.ts';
import { commandWorks, type Runs, runCommand } from './run-command.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A program that builds container images, and its commands. */
export interface ImageBuilder {
  readonly name: 'docker' | 'podman' | 'buildah';
  /** Exits with 0 if the program can build here. */
  readonly probe: readonly string[];
  readonly build: (image: string, context: string) => readonly string[];
  /** Writes an archive that every loader of `load-image.ts` reads. */
  readonly save: (image: string, archive: string) => readonly string[];
}

/** In the order in which they are tried. */
export const imageBuilders: readonly ImageBuilder[] = [
  {
    name: 'docker',
    probe: ['docker', 'info'],
    build: (image, context) => ['docker', 'build', '--quiet', '--tag', image, context],
    save: (image, archive) => ['docker', 'save', '--output', archive, image],
  },
  {
    name: 'podman',
    probe: ['podman', 'info'],
    build: (image, context) => ['podman', 'build', '--quiet', '--timestamp=0', '--tag', image, context],
    save: (image, archive) => ['podman', 'save', '--quiet', '--format', 'docker-archive', '--output', archive, image],
  },
  {
    name: 'buildah',
    probe: ['buildah', 'images', '--quiet'],
    build: (image, context) => [
      'buildah',
      'build',
      '--quiet',
      '--timestamp=0',
      '--isolation',
      'chroot',
      '--tag',
      image,
      context,
    ],
    save: (image, archive) => ['buildah', 'push', '--quiet', image, `docker-archive:${archive}:${image}`],
  },
];

/** The image's name in the manifests. It belongs to no registry, so nobody else can publish it. */
export function localImage(): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly version: string };
  return `localhost/peerdiscovery:${version}`;
}

/** The first builder that works here, or the named one. Throws an error with the cure if there is none. */
export function chooseBuilder(wanted: string | undefined, runs: Runs): ImageBuilder {
  const candidates = imageBuilders.filter(({ name }) => wanted === undefined || name === wanted);
  const found = candidates.find(({ probe }) => runs(probe));
  if (found !== undefined) return found;
  const names = imageBuilders.map(({ name }) => name).join(', ');
  if (candidates.length === 0) throw new Error(`BUILDER=${wanted} is not known: choose one of ${names}`);
  const what = wanted === undefined ? 'no program that builds images was found' : `${wanted} does not work here`;
  throw new Error(`${what}: install one of ${names}, or start its daemon`);
}

/** Builds the image from the file system of `make rootfs`, and writes it into an archive. */
export function buildImage(builder: ImageBuilder, image: string, archive: string): void {
  const context = mkdtempSync(join(tmpdir(), 'peerdiscovery-image-'));
  try {
    buildRootfs(join(context, 'rootfs'));
    // The Dockerfile's final stage; the file system replaces its first stage.
    const [, shipped = ''] = /^(FROM scratch\n[\s\S]*)$/m.exec(readFileSync(join(root, 'Dockerfile'), 'utf8')) ?? [];
    writeFileSync(join(context, 'Dockerfile'), shipped.replace('COPY --from=build /rootfs /', 'COPY rootfs /'));
    mkdirSync(dirname(archive), { recursive: true });
    rmSync(archive, { force: true });
    runCommand(builder.build(image, context));
    runCommand(builder.save(image, archive));
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const [image, archive = 'dist/image.tar', wanted] = process.argv.slice(2).map((word) => word || undefined);
  const name = image ?? localImage();
  try {
    const builder = chooseBuilder(wanted, commandWorks);
    buildImage(builder, name, resolve(archive));
    process.stdout.write(`${name} is built by ${builder.name}, and in ${archive}\n`);
  } catch (error) {
    process.stderr.write(`make image: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
