import { expect } from 'chai';
import type { HttpRequest } from '../../../src/http/client/dispatch.ts';
import { encodeRequestFields, type RequestHead, writeRequestHead } from '../../../src/http/client/request-head.ts';
import { WrittenFields } from '../../../src/http/client/written-fields.ts';

const target = { address: '10.0.0.1:6443' };

function request(written: WrittenFields | undefined, changed: Partial<HttpRequest> = {}): HttpRequest {
  const rawHeaders = ['Authorization', 'Bearer a'];
  return { method: 'GET', path: '/a', body: null, upgrade: undefined, rawHeaders, written, ...changed };
}

const writers: Readonly<Record<string, (origin: typeof target, request: HttpRequest) => RequestHead>> = {
  writeRequestHead,
  encodeRequestFields,
};

for (const [name, write] of Object.entries(writers))
  describe(`${name} from fields that were written before`, () => {
    it('equals one from new fields, for another path too', () => {
      const written = new WrittenFields();
      write(target, request(written));
      expect(written.size).to.be.above(0);
      expect(write(target, request(written, { path: '/b' }))).to.deep.equal(
        write(target, request(undefined, { path: '/b' })),
      );
    });

    it('names the requested server', () => {
      const written = new WrittenFields();
      write(target, request(written));
      const head = write({ address: '10.0.0.2:6443' }, request(written));
      expect(head).to.have.property('text').that.includes('10.0.0.2:6443');
    });

    it('still refuses an invalid path, and remembers nothing invalid', () => {
      const written = new WrittenFields();
      write(target, request(written));
      expect(write(target, request(written, { path: '/a b' })).kind).to.equal('bad');
      const bad = new WrittenFields();
      expect(write(target, request(bad, { rawHeaders: ['A', 'b\r\nC: d'] })).kind).to.equal('bad');
      expect(bad.size).to.equal(0);
    });
  });
