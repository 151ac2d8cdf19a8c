import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { copyProgram } from '../../scripts/build-rootfs.ts';
import { type ImageContents, writeOciArchive } from '../../scripts/write-oci-archive.ts';
import { cacheFolder } from '../build/build-control-plane.ts';
import { findProgram } from '../build/find-program.ts';
import { type NodeBuild, nodePrograms, type Programs } from './build-programs.ts';

/** The registry of the cluster's own images. It does not exist, because every machine has the images from the start. */
export const registry = 'registry.test';

/** Increase this if an image changes in anything but its programs. */
const layout = 2;

/**
 * The name of the pause image in containerd. kubeadm and the kubelet of each version have their own names for it, too.
 */
export const pauseImage = `${registry}/pause:3.10.1`;

/** Resolves to the archives with all images that this version of kubeadm needs. They are built once and cached. */
export function ensureImages(
  { coredns }: Programs,
  node: NodeBuild,
  log: (message: string) => void,
): readonly string[] {
  const names = wantedImages(node);
  const are = (what: string) => names.filter((name) => name.split('/').at(-1)?.startsWith(`${what}:`));
  const pause = are('pause');
  const dns = names.filter((name) => name.includes('/coredns'));
  const others = names.filter((name) => !pause.includes(name) && !dns.includes(name));
  const archive = (name: string, from: string, fill: (rootfs: string) => Omit<ImageContents, 'rootfs'>) => {
    const file = join(cacheFolder(), 'cluster', 'images', `${name}-${basename(from)}-${layout}.tar`);
    if (!existsSync(file)) {
      log(`building the image ${name} of Kubernetes ${node.version}`);
      packImage(file, fill);
    }
    return file;
  };
  return [
    archive('pause', node.folder, (rootfs) => {
      fillPause(rootfs);
      return { names: [...new Set([...pause, pauseImage])], config: { Entrypoint: ['/pause'], User: '65535:65535' } };
    }),
    archive('coredns', `${basename(coredns)}-${basename(node.folder)}`, (rootfs) => {
      copyProgram(join(coredns, 'coredns'), join(rootfs, 'coredns'), rootfs);
      return { names: dns, config: { Entrypoint: ['/coredns'] } };
    }),
    archive('kubernetes', node.folder, (rootfs) => {
      fillKubernetes(rootfs, node.folder);
      return { names: others, config: { Env: ['PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] } };
    }),
  ];
}

function packImage(file: string, fill: (rootfs: string) => Omit<ImageContents, 'rootfs'>): void {
  const rootfs = mkdtempSync(join(tmpdir(), 'peerdiscovery-rootfs-'));
  try {
    chmodSync(rootfs, 0o755);
    writeOciArchive({ rootfs, ...fill(rootfs) }, file);
  } finally {
    rmSync(rootfs, { recursive: true, force: true });
  }
}

function wantedImages({ version, folder }: NodeBuild): readonly string[] {
  const args = ['config', 'images', 'list', '--kubernetes-version', version, '--image-repository', registry];
  const { status, stdout, stderr } = spawnSync(join(folder, 'kubeadm'), args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`kubeadm config images list ended with ${status}: ${stderr}`);
  return stdout.trim().split('\n');
}

/** kubeadm's Job upgrade-health-check calls `pause -v`, which must exit. */
const pauseSource = 'int pause(void);int main(int n,char**v){if(n<2)for(;;)pause();return 0;}';

function fillPause(rootfs: string): void {
  const args = ['-xc', '-static', '-O2', '-s', '-o', join(rootfs, 'pause'), '-'];
  const { status, stderr, error } = spawnSync('gcc', args, { input: pauseSource, encoding: 'utf8' });
  if (status !== 0) throw new Error(`gcc failed to build pause: ${error?.message ?? stderr}`);
}

/**
 * One image serves every component. It has all Kubernetes programs, and the packet filter tools that kube-proxy calls.
 */
function fillKubernetes(rootfs: string, programs: string): void {
  const bin = join(rootfs, 'usr/local/bin');
  copyProgram(join(programs, 'node'), join(bin, 'node'), rootfs);
  for (const name of nodePrograms) symlinkSync('node', join(bin, name));
  const sbin = join(rootfs, 'usr/sbin');
  for (const name of ['nft', 'xtables-nft-multi']) {
    const program = findProgram([name], '/usr/sbin:/sbin:/usr/bin');
    if (program === undefined) throw new Error(`${name} is missing: install the packages iptables and nftables`);
    copyProgram(program, join(sbin, name), rootfs);
  }
  for (const family of ['iptables', 'ip6tables'])
    for (const suffix of ['', '-save', '-restore']) symlinkSync('xtables-nft-multi', join(sbin, `${family}${suffix}`));
  copyExtensions(rootfs);
  for (const folder of ['etc', 'run', 'var/run']) mkdirSync(join(rootfs, folder), { recursive: true });
  mkdirSync(join(rootfs, 'tmp'));
  chmodSync(join(rootfs, 'tmp'), 0o1777);
  writeFileSync(join(rootfs, 'etc/nsswitch.conf'), 'hosts: files dns\n');
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0::/:/none\n');
}

/** iptables loads its matches and targets from separate files. */
function copyExtensions(rootfs: string): void {
  const folder = ['/usr/lib/x86_64-linux-gnu/xtables', '/usr/lib/aarch64-linux-gnu/xtables', '/usr/lib/xtables'].find(
    existsSync,
  );
  if (folder === undefined) throw new Error('the iptables extensions are missing: install the package iptables');
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.so')))
    copyProgram(realpathSync(join(folder, name)), join(rootfs, folder, name), rootfs);
}
