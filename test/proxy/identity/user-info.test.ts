import type { X509Certificate } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  createUserMatcher,
  type UserInfo,
  userHeaders,
  userOfCertificate,
  userOfHeaders,
} from '../../../src/proxy/identity/user-info.ts';

const names = {
  user: ['X-Remote-User', 'X-Other-User'],
  uid: ['X-Remote-Uid'],
  group: ['X-Remote-Group'],
  extraPrefix: ['X-Remote-Extra-', 'X-More-'],
};
const jane: UserInfo = { name: 'jane', uid: 'u1', groups: ['a', 'b'], extra: [['scopes', ['read', 'write']]] };

describe('userHeaders', () => {
  it('states each part of a user in the first of its fields', () => {
    expect(userHeaders(jane, names)).to.deep.equal([
      ...['X-Remote-User', 'jane', 'X-Remote-Uid', 'u1', 'X-Remote-Group', 'a', 'X-Remote-Group', 'b'],
      ...['X-Remote-Extra-scopes', 'read', 'X-Remote-Extra-scopes', 'write'],
    ]);
  });

  it('omits empty parts, and those without a field', () => {
    const bare = { name: 'jane', uid: '', groups: ['', 'a'], extra: [] };
    expect(userHeaders(bare, names)).to.deep.equal(['X-Remote-User', 'jane', 'X-Remote-Group', 'a']);
    expect(userHeaders({ ...jane, extra: [] }, { ...names, uid: [] })).not.to.include('u1');
  });

  it('states no user if a value would not arrive unchanged', () => {
    for (const value of [' jane', 'jane ', 'ja\nne', 'ja\u0000ne', 'ja\u001fne', 'ja\u007fne', 'ja\ud800'])
      for (const user of [
        { ...jane, name: value },
        { ...jane, uid: value },
        { ...jane, groups: ['a', value] },
        { ...jane, extra: [['key', [value]]] as const },
      ])
        expect(userHeaders(user, names), JSON.stringify(value)).to.equal(undefined);
    expect(userHeaders({ ...jane, name: '' }, names)).to.equal(undefined);
    expect(userHeaders({ ...jane, name: 'ja ne' }, names)?.[1]).to.equal('ja ne');
  });

  it('escapes keys of extra that are not header names, as client-go does', () => {
    const keys = ['a/b', 'é', 'a%b', 'a:b', 'a\tb', "!#$&'*+.^_`|~-"];
    const stated = userHeaders({ ...jane, uid: '', groups: [], extra: keys.map((key) => [key, ['x']]) }, names);
    expect(stated?.filter((name) => name.startsWith('X-Remote-Extra-'))).to.deep.equal(
      ['a%2Fb', '%C3%A9', 'a%25b', 'a%3Ab', 'a%09b', "!#$&'*+.^_`|~-"].map((key) => `X-Remote-Extra-${key}`),
    );
  });
});

describe('userOfCertificate', () => {
  const uid = '1.3.6.1.4.1.57683.2';
  const read = (subject: Readonly<Record<string, string | readonly string[]>>) =>
    userOfCertificate({ toLegacyObject: () => ({ subject }) } as unknown as X509Certificate, 'abc');

  it('reads the last common name, all organisations and the UID, as kube-apiserver does', () => {
    const extra = [['authentication.kubernetes.io/credential-id', ['X509SHA256=abc']]];
    const whole = read({ CN: ['first', 'jane'], O: ['a', 'b'], [uid]: 'u1' });
    expect(whole).to.deep.equal({ name: 'jane', uid: 'u1', groups: ['a', 'b'], extra });
    expect(read({ CN: 'jane', O: 'a' })).to.deep.equal({ name: 'jane', uid: '', groups: ['a'], extra });
    expect(read({ CN: 'jane' })).to.deep.equal({ name: 'jane', uid: '', groups: [], extra });
  });

  it('names nobody without a common name, and refuses an ambiguous or empty UID', () => {
    expect(read({ O: 'a' })).to.equal(undefined);
    expect(read({ CN: '' })).to.equal(undefined);
    for (const value of [['u1', 'u2'], '', ['']])
      expect(read({ CN: 'jane', [uid]: value }))
        .to.have.property('error')
        .that.includes('UID');
  });
});

describe('userOfHeaders', () => {
  it('reads back what userHeaders states, for any user', () => {
    const unit = fc.constantFrom('a', 'z', '0', ' ', '%', '/', '_', 'é', '日', '😀', '\n', '\ud800');
    const text = fc.string({ unit, minLength: 1, maxLength: 6 });
    const key = text.filter((value) => value.isWellFormed());
    const users = fc.record({
      name: text,
      uid: text,
      groups: fc.array(text, { maxLength: 3 }),
      extra: fc.uniqueArray(fc.tuple(key, fc.array(text, { minLength: 1, maxLength: 2 })), {
        selector: ([k]) => k,
        maxLength: 3,
      }),
    });
    fc.assert(
      fc.property(users, (user) => {
        const stated = userHeaders(user, names);
        if (stated !== undefined) expect(userOfHeaders(stated, names)).to.deep.equal(user);
      }),
    );
  });

  it('takes the first field that names a user, in any case of letters, and no user without one', () => {
    const read = (...rawHeaders: string[]) => userOfHeaders(rawHeaders, names);
    expect(read('x-other-user', 'b', 'X-REMOTE-USER', 'a')?.name).to.equal('a');
    expect(read('X-Remote-User', '', 'X-Other-User', 'b')?.name).to.equal('b');
    expect(read('X-Remote-Group', 'a')).to.equal(undefined);
    expect(read('X-Remote-User', '')).to.equal(undefined);
    expect(read('X-Remote-User', 'a')).to.deep.equal({ name: 'a', uid: '', groups: [], extra: [] });
  });

  it('joins the values of one key of extra, under each prefix', () => {
    const extra = ['X-Remote-Extra-K', '1', 'x-remote-extra-k', '2', 'X-More-%zz', '3', 'X-Remote-Extrak', '4'];
    expect(userOfHeaders(['X-Remote-User', 'a', ...extra], names)?.extra).to.deep.equal([
      ['k', ['1', '2']],
      ['%zz', ['3']],
    ]);
  });
});

describe('createUserMatcher', () => {
  it('knows every field that states a user, also with underscores', () => {
    const isUserField = createUserMatcher({ ...names, group: ['X_Remote_Group'] });
    for (const name of [
      'x-remote-user',
      'x_other-user',
      'x-remote_uid',
      'x-remote-group',
      'x-remote-extra-k',
      'x-more-',
    ])
      expect(isUserField(name), name).to.equal(true);
    for (const name of ['x-remote-users', 'remote-user', 'ax-more-k', 'x-mor', 'authorization'])
      expect(isUserField(name), name).to.equal(false);
  });
});
