import { expect } from 'chai';
import {
  type ConfinedPod,
  containersOf,
  type KernelView,
  looseEnds,
  memoryTrouble,
  type Promised,
} from '../../lab/cluster/confinement.ts';

const none = '0'.repeat(16);
const status = [
  'Name:\tnode',
  'Uid:\t65532\t65532\t65532\t65532',
  'Gid:\t65532\t65532\t65532\t65532',
  ...['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((name) => `${name}:\t${none}`),
  'NoNewPrivs:\t1',
  'Seccomp:\t2',
  'Seccomp_filters:\t1',
  '',
].join('\n');
const view: KernelView = {
  status,
  mountinfo: [
    '707 545 0:110 / / ro,relatime master:222 - overlay overlay rw,lowerdir=/a,upperdir=/b',
    '708 707 0:113 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw',
    '',
  ].join('\n'),
  memoryLimit: '536870912\n',
};
const promised: Promised = { uid: 65_532, gid: 65_532, memoryBytes: 536_870_912 };
const changed = (from: string, to: string) => looseEnds({ ...view, status: status.replace(from, to) }, promised);

describe('The confinement of a container', () => {
  it('is whole if the kernel confirms every promise', () => {
    expect(looseEnds(view, promised)).to.deep.equal([]);
  });

  it('lacks a seccomp filter in any other mode', () => {
    expect(changed('Seccomp:\t2', 'Seccomp:\t0')).to.deep.equal(['Seccomp is 0, not 2']);
  });

  it('lacks the ban on new privileges', () => {
    expect(changed('NoNewPrivs:\t1', 'NoNewPrivs:\t0')).to.deep.equal(['NoNewPrivs is 0, not 1']);
  });

  for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    it(`has a capability too many in ${name}`, () => {
      const one = `${none.slice(0, -3)}400`;
      expect(changed(`${name}:\t${none}`, `${name}:\t${one}`)).to.deep.equal([`${name} is ${one}, not ${none}`]);
    });

  it('has a root user, in whichever of its four user ids', () => {
    expect(changed('Uid:\t65532\t65532\t65532', 'Uid:\t65532\t0\t65532')).to.deep.equal([
      'Uid is 65532 0 65532 65532, not 65532',
    ]);
  });

  it('has another group', () => {
    expect(changed('Gid:\t65532', 'Gid:\t0')).to.deep.equal(['Gid is 0 65532 65532 65532, not 65532']);
  });

  it('is unknown if the kernel does not say', () => {
    expect(changed('Seccomp:\t2\n', '')).to.deep.equal(['Seccomp is unknown, not 2']);
    expect(looseEnds({ ...view, mountinfo: '' }, promised)).to.deep.equal(['the root file system is writable']);
  });

  it('has a writable root, whatever the file system below it or a hidden mount may be', () => {
    const mountinfo = `${view.mountinfo}709 707 0:9 / / rw,relatime - tmpfs tmpfs ro\n`;
    expect(looseEnds({ ...view, mountinfo }, promised)).to.deep.equal(['the root file system is writable']);
  });

  it('has another limit of memory than the manifest', () => {
    expect(looseEnds({ ...view, memoryLimit: '9223372036854771712\n' }, promised)).to.deep.equal([
      'the limit of memory is 9223372036854771712, not 536870912',
    ]);
  });

  it('is not promised by a manifest without user, group and limit', () => {
    const points = ['the manifest promises the user 0', 'the manifest promises the group of the image'];
    expect(looseEnds(view, { uid: 0, gid: undefined, memoryBytes: undefined })).to.deep.equal([
      ...points,
      'the manifest promises no limit of memory',
    ]);
  });

  it('is not promised by a manifest with the group of root', () => {
    const rooted = { ...view, status: status.replace(/^Gid:.*$/m, 'Gid:\t0\t0\t0\t0') };
    expect(looseEnds(rooted, { ...promised, gid: 0 })).to.deep.equal(['the manifest promises the group 0']);
  });

  it('is what the manifest of its Pod promises', () => {
    const pod = (memory?: string): ConfinedPod => ({
      metadata: { name: 'p', namespace: 'n' },
      spec: {
        nodeName: 'm1',
        securityContext: { runAsUser: 7, runAsGroup: 8 },
        containers: [
          { name: 'other', resources: { limits: { memory: '1Gi' } } },
          { name: 'proxy', ...(memory === undefined ? {} : { resources: { limits: { memory } } }) },
        ],
      },
      status: { containerStatuses: [{ name: 'proxy', containerID: 'containerd://abc', restartCount: 2 }] },
    });
    expect(containersOf(pod('2560Mi'))).to.deep.equal([
      { pod: 'p', id: 'abc', restarts: 2, promised: { uid: 7, gid: 8, memoryBytes: 2_560 * 2 ** 20 } },
    ]);
    expect(containersOf(pod()).map((container) => container.promised.memoryBytes)).to.deep.equal([undefined]);
    expect(containersOf(pod('1e3')).map((container) => container.promised.memoryBytes)).to.deep.equal([undefined]);
  });
});

describe('The memory of a container', () => {
  const quiet = { peak: '1', reached: '0\n', oomControl: 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n' };
  const restarts = { before: 1, now: 1 };

  it('is in its bounds if nothing was refused or killed, and nothing restarted', () => {
    expect(memoryTrouble(quiet, restarts)).to.deep.equal([]);
  });

  it('is not if the limit was reached, a process was killed, or the container restarted', () => {
    expect(memoryTrouble({ ...quiet, reached: '3\n' }, restarts)).to.deep.equal([
      'it reached its limit of memory 3 times',
    ]);
    expect(
      memoryTrouble({ ...quiet, oomControl: 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n' }, restarts),
    ).to.deep.equal(['the kernel killed 1 of its processes for their memory']);
    expect(memoryTrouble(quiet, { before: 1, now: 2 })).to.deep.equal(['it restarted 1 times']);
  });

  it('is in doubt if the kernel does not count killed processes', () => {
    expect(memoryTrouble({ ...quiet, oomControl: '' }, restarts)).to.have.length(1);
  });
});
