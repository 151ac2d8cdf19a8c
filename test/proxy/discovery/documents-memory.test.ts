import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { documentsBytes } from '../../../src/proxy/limits.ts';

const run = promisify(execFile);
const program = fileURLToPath(new URL('../../support/read-large-documents.ts', import.meta.url));

describe('the longest documents that are merged', function () {
  this.timeout(180_000);

  it('stay within their planned memory in both encodings, including the thread that merges them', async () => {
    const { stdout } = await run(process.execPath, ['--expose-gc', '--max-semi-space-size=8', program]);
    const { merged, took } = JSON.parse(stdout) as { readonly merged: number; readonly took: number };
    expect(merged).to.be.above(2 * 78 * 1024 * 1024);
    expect(took).to.be.below(documentsBytes);
  });
});
