import { expect } from 'chai';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { runMerge } from '../../src/plugin/merge-documents.ts';
import { discoveryEtag } from '../../src/runtime/discovery-etag.ts';
import { buildGroup, buildVersion } from '../support/discovery-builders.ts';

const apps = buildGroup('apps', buildVersion('v1', 'deployments'));
const batch = buildGroup('batch', buildVersion('v1', 'jobs'));
const core = buildGroup('', buildVersion('v1', 'pods'));
const saved = (...groups: GroupDiscovery[]) => encodeDiscoveryList(groups, { typeMeta: true });

async function run(args: string[], files: Record<string, string> = {}) {
  const written = { stdout: '', stderr: '' };
  const read: string[] = [];
  const code = await runMerge(args, {
    readFile: async (path) => {
      read.push(path);
      const text = files[path];
      if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      return text;
    },
    stdout: (text) => {
      written.stdout += text;
    },
    stderr: (text) => {
      written.stderr += text;
    },
  });
  return { code, ...written, read };
}

describe('peerdiscovery merge', () => {
  it('prints the merged list as kube-apiserver serves it, and the bare ETag on standard error', async () => {
    const files = { 'a.json': saved(apps), 'b.json': saved(apps, batch) };
    expect(await run(['--local', 'a', 'a=a.json', 'b=b.json'], files)).to.deep.equal({
      code: 0,
      stdout: saved(apps, batch),
      stderr: `${discoveryEtag([apps, batch])}\n`,
      read: ['a.json', 'b.json'],
    });
  });

  it('returns the document of a single server unchanged, with its ETag', async () => {
    const { code, stdout, stderr } = await run(['a=a.json', '--local=a'], { 'a.json': saved(batch, apps) });
    expect({ code, stdout, stderr }).to.deep.equal({
      code: 0,
      stdout: saved(batch, apps),
      stderr: `${discoveryEtag([batch, apps])}\n`,
    });
  });

  it('reads standard input for "-", and a file whose name has an equals sign', async () => {
    const { code, stdout } = await run(['--local', 'a', 'a=-', 'b=x=y.json'], {
      '-': saved(apps),
      'x=y.json': saved(batch),
    });
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: saved(apps, batch) });
  });

  it('reads v2beta1 too', async () => {
    const text = saved(apps).replace('apidiscovery.k8s.io/v2', 'apidiscovery.k8s.io/v2beta1');
    expect((await run(['--local', 'a', 'a=a.json'], { 'a.json': text })).stdout).to.equal(saved(apps));
  });

  it("drops the core group and a group's second entry from peers, but keeps the local list as it is", async () => {
    const again = buildGroup('batch', buildVersion('v1', 'cronjobs'));
    const files = { a: saved(apps), b: saved(core, batch, again), c: saved(core, apps) };
    expect((await run(['--local', 'a', 'a=a', 'b=b'], files)).stdout).to.equal(saved(apps, batch));
    expect((await run(['--local', 'c', 'c=c', 'a=a'], files)).stdout).to.equal(saved(core, apps));
  });

  it('ignores a peer that serves nothing, but not one that serves the core group only', async () => {
    const doubled = saved(apps, apps);
    const files = { a: doubled, none: saved(), bare: saved(buildGroup('')), core: saved(core) };
    expect((await run(['--local', 'a', 'a=a', 'b=none'], files)).stdout).to.equal(doubled);
    expect((await run(['--local', 'a', 'a=a', 'b=bare'], files)).stdout).to.equal(doubled);
    expect((await run(['--local', 'a', 'a=a', 'b=core'], files)).stdout).to.equal(saved(apps));
  });

  it('prints its usage on --help', async () => {
    const { code, stdout, stderr } = await run(['--help']);
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
    expect(stdout).to.contain('peerdiscovery merge --local ID ID=FILE').and.contain('profile=nopeer');
  });

  const misuses: [string, string[], string][] = [
    ['no arguments', [], '--local is missing'],
    ['no --local', ['a=a.json'], '--local is missing'],
    ['no documents', ['--local', 'a'], 'no documents; name at least one as ID=FILE'],
    [
      'an id that no document has',
      ['--local', 'c', 'a=a.json', 'b=b.json'],
      '--local c is none of the IDs; it must be one of a, b',
    ],
    ['two local servers', ['--local', 'a', '--local', 'b', 'a=x', 'b=y'], '--local is given twice'],
    ['an id given twice', ['--local', 'a', 'a=x', 'a=y'], 'a is given twice'],
    ['a document without an id', ['--local', 'a', 'a.json'], '"a.json" is not ID=FILE'],
    ['an empty id', ['--local', 'a', '=a.json'], '"=a.json" is not ID=FILE'],
    ['an empty file name', ['--local', 'a', 'a='], '"a=" is not ID=FILE'],
    ['standard input twice', ['--local', 'a', 'a=-', 'b=-'], '"-" is given twice'],
    ['an unknown flag', ['--peer', 'a'], 'unknown flag --peer'],
  ];
  for (const [what, args, message] of misuses)
    it(`exits with 2 on ${what}, reads nothing and names the error`, async () => {
      const { code, stdout, stderr, read } = await run(args);
      expect({ code, stdout, read }).to.deep.equal({ code: 2, stdout: '', read: [] });
      expect(stderr).to.contain(message).and.contain('--help');
    });

  const list = (kind: string, apiVersion?: string) => JSON.stringify({ kind, apiVersion, items: [] });
  const badFiles: [string, string | undefined, string][] = [
    ['is not there', undefined, 'cannot be read: ENOENT'],
    ['is not JSON', 'HTTP/1.1 200 OK', 'is not JSON'],
    ['is a JSON list', '[]', 'is not an APIGroupDiscoveryList'],
    ['is legacy discovery', list('APIGroupList', 'v1'), 'v=v2;as=APIGroupDiscoveryList;profile=nopeer"'],
    [
      'is an error of the server',
      '{"kind":"Status","message":"forbidden"}',
      'is an error of the server, not its discovery: "forbidden"',
    ],
    ['is of another kind', list('PodList', 'v1'), 'has kind "PodList"'],
    ['has no kind', '{"items":[]}', 'has kind (none)'],
    [
      'is of another version',
      list('APIGroupDiscoveryList', 'apidiscovery.k8s.io/v3'),
      'has apiVersion "apidiscovery.k8s.io/v3"',
    ],
    [
      'has a field of the wrong type',
      '{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"versions":1}]}',
      'items[0].versions: expected a list, got number',
    ],
  ];
  for (const [what, text, message] of badFiles)
    it(`exits with 1 on a file that ${what}, and names it`, async () => {
      const files = { 'a.json': saved(apps), ...(text !== undefined && { 'b.json': text }) };
      const { code, stdout, stderr } = await run(['--local', 'a', 'a=a.json', 'b=b.json'], files);
      expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
      expect(stderr).to.contain('b.json (for b): ').and.contain(message);
    });

  it('reports every bad file at once', async () => {
    const { stderr } = await run(['--local', 'a', 'a=-', 'b=b.json'], { '-': '' });
    expect(stderr).to.contain('standard input (for a)').and.contain('b.json (for b)');
  });
});
