import { expect } from 'chai';
import { buildRelease, notesOf, readImage, settleSbom, splitManifest } from '../../scripts/build-release.ts';
import { readDocs } from '../../scripts/bundle-plugin.ts';

describe('The notes of a release', () => {
  const changelog = '# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.1.0] - 2026-01-01\n\n- old\n';

  it('are the changes of that version, or the unreleased ones', () => {
    expect(notesOf(changelog, '0.1.0')).to.equal('# PeerDiscovery 0.1.0\n\n- old\n');
    expect(notesOf(changelog, '0.2.0')).to.equal('# PeerDiscovery 0.2.0\n\n- new\n');
  });

  it('are refused if there are none', () => {
    expect(() => notesOf('# Changelog\n', '0.1.0')).to.throw('neither [0.1.0] nor [Unreleased]');
  });
});

describe('A bill of materials of a release', () => {
  const date = '2026-01-01T00:00:00Z';
  const cyclonedx = (uuid: string, at: string, name = 'p') =>
    JSON.stringify({ serialNumber: `urn:uuid:${uuid}`, metadata: { timestamp: at }, components: [{ name }] }, null, 2);
  const spdx = (uuid: string, at: string) =>
    JSON.stringify({ documentNamespace: `http://spdx.org/p-1-${uuid}`, creationInfo: { created: at } }, null, 2);
  const [first, second] = ['11111111-2222-4333-8444-555555555555', 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'];

  it('is the same at any time', () => {
    for (const form of [cyclonedx, spdx])
      expect(settleSbom(form(first, '2026-02-02T01:02:03.456Z'), date)).to.equal(
        settleSbom(form(second, '2026-03-03T01:02:03.456Z'), date),
      );
    expect(settleSbom(cyclonedx(first, '2026-02-02T01:02:03.456Z'), date)).to.contain(`"timestamp": "${date}"`);
  });

  it('has another name for other contents', () => {
    const at = '2026-02-02T01:02:03.456Z';
    expect(settleSbom(cyclonedx(first, at, 'a'), date).slice(0, 80)).to.not.equal(
      settleSbom(cyclonedx(first, at, 'b'), date).slice(0, 80),
    );
  });
});

describe('The image of a release', () => {
  const digest = `sha256:${'a'.repeat(64)}`;

  it('is a name with a tag or a digest', () => {
    expect(readImage('registry.example.com/a/b:0.1.0')).to.deep.equal({
      repository: 'registry.example.com/a/b',
      tag: '0.1.0',
      digest: '',
    });
    expect(readImage(`registry.example.com:5000/b@${digest}`)).to.deep.equal({
      repository: 'registry.example.com:5000/b',
      tag: '',
      digest,
    });
  });

  it('is required before anything is built', async () => {
    const wrong = [
      '',
      'peerdiscovery',
      'peerdiscovery:1',
      'registry.example.com/b',
      'https://a/b:1',
      `a/b:1@${digest}`,
    ];
    for (const image of wrong)
      expect(() => readImage(image), image).to.throw(`IMAGE=${image} is no reference that Pods can pull`);
    const options = { version: '0.1.0', image: '', downloads: '', docs: '', date: '', log: () => {} };
    expect(await buildRelease('/nonexistent', options).catch(String)).to.contain('make release IMAGE=');
  });
});

describe('The manifests of a release', () => {
  it('contain the objects of PeerDiscovery separately, because kubectl knows them only once the CRD is there', () => {
    const [objects, others] = splitManifest('kind: A\n---\nkind: PeerDiscovery\n---\nkind: B\n');
    expect(objects).to.equal('kind: PeerDiscovery\n');
    expect(others).to.equal('kind: A\n---\nkind: B\n');
  });
});

describe('The documentation of a release', () => {
  it('is at an address that ends with a slash, or at none', () => {
    expect(readDocs(undefined)).to.equal('');
    expect(readDocs('https://example.com/docs/')).to.equal('https://example.com/docs/');
    for (const docs of ['https://example.com/docs', 'docs/', 'ftp://example.com/'])
      expect(() => readDocs(docs), docs).to.throw(`DOCS=${docs} is no address of a folder`);
  });
});
