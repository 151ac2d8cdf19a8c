import { expect } from 'chai';
import {
  type DiscoveryPath,
  parseDiscoveryPath,
  pathOf,
  pathWithTimeout,
  wantsPretty,
} from '../../../src/proxy/discovery/discovery-path.ts';

describe('parseDiscoveryPath', () => {
  const group = 'a.io';
  const documents: readonly (readonly [path: string, document: DiscoveryPath])[] = [
    ['/api', { kind: 'core' }],
    ['/api/', { kind: 'core' }],
    ['/api//', { kind: 'core' }],
    ['/apis', { kind: 'groups' }],
    ['/apis/', { kind: 'groups' }],
    ['/api/v1', { kind: 'groupVersion', group: '', version: 'v1' }],
    ['/api/v1/', { kind: 'groupVersion', group: '', version: 'v1' }],
    ['/apis/a.io', { kind: 'group', group }],
    ['/apis/a.io/', { kind: 'group', group }],
    ['/apis/a.io/v1', { kind: 'groupVersion', group, version: 'v1' }],
    ['/apis/a.io/v1/', { kind: 'groupVersion', group, version: 'v1' }],
    [`/apis/${'a'.repeat(394)}`, { kind: 'group', group: 'a'.repeat(394) }],
  ];
  for (const [path, document] of documents)
    it(`knows ${path.slice(0, 40)}`, () => {
      expect(parseDiscoveryPath(path)).to.deep.equal(document);
    });

  for (const path of [
    '/',
    '',
    '/version',
    '/apix',
    '/apix/v1',
    '/x/api',
    '//api',
    '/api/v1//',
    '/api/v1/pods',
    '/api//v1',
    '/api///',
    '/apis//',
    '/apis//v1',
    '/apis/a.io//',
    '/apis/a.io/v1//',
    '/apis/a.io/v1/x',
    '/apis/a.io/v1/x/y',
    '/apis/a%2eio',
    `/apis/${'a'.repeat(395)}`,
  ])
    it(`leaves ${path.slice(0, 40) || 'no path'} to the servers`, () => {
      expect(parseDiscoveryPath(path)).to.equal(undefined);
    });
});

describe('the path of a request', () => {
  it('excludes the query, unless it has a timeout', () => {
    expect(pathOf('/apis?timeout=1s')).to.equal('/apis');
    expect(pathOf('/apis')).to.equal('/apis');
    expect(pathWithTimeout('/apis')).to.equal('/apis');
    expect(pathWithTimeout('/apis?pretty=1')).to.equal('/apis');
    for (const query of ['timeout=x', 'a=b&timeout', 'time%6fut=1'])
      expect(pathWithTimeout(`/apis?${query}`)).to.equal(`/apis?${query}`);
    expect(pathWithTimeout('/timeout?x=timeout')).to.equal('/timeout');
  });
});

describe('wantsPretty', () => {
  it('follows the parameter, or else indents if the client seems to be a person', () => {
    for (const person of ['curl/8', 'Wget/1', 'Mozilla/5.0 (X11)']) expect(wantsPretty('/apis', person)).to.equal(true);
    for (const program of ['', 'kubectl/v1.36', 'xcurl', 'Mozilla/4.0', 'a Wget'])
      expect(wantsPretty('/apis', program), program).to.equal(false);
    for (const yes of ['1', 't', 'T', 'TRUE', 'true', 'True'])
      expect(wantsPretty(`/apis?pretty=${yes}`, ''), yes).to.equal(true);
    for (const no of ['0', 'f', 'false', 'yes', 'tRUE', '11', 'at'])
      expect(wantsPretty(`/apis?pretty=${no}`, 'curl/8'), no).to.equal(false);
    for (const silent of ['/apis?pretty', '/apis?pretty=', '/apis?x=pretty', '/apis?prettyx=1', '/pretty?x=1']) {
      expect(wantsPretty(silent, 'curl/8'), silent).to.equal(true);
      expect(wantsPretty(silent, ''), silent).to.equal(false);
    }
    expect(wantsPretty('/apis?pretty=false&pretty=1', '')).to.equal(false);
  });
});
