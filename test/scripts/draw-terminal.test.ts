import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { repository } from '../../lab/deploy-plane.ts';
import { chaptersOf, drawTerminal } from '../../scripts/draw-terminal.ts';

describe('the picture of the demo', () => {
  const output = '\n0. First\n\n   a\n\n4. Damage\n\n   $ a <b>\n   ✘ wrong\n\n5. Cure\n\n   ✔ right\n\n6. Last\n';

  it('shows the chapters that were asked for, and says which are missing', () => {
    expect(chaptersOf(output, [4, 5])).to.equal('4. Damage\n\n   $ a <b>\n   ✘ wrong\n\n5. Cure\n\n   ✔ right');
    expect(() => chaptersOf(output, [4, 9])).to.throw('no chapter 9');
  });

  it('tells what is right from what is wrong, and takes no text for markup', () => {
    const svg = drawTerminal(chaptersOf(output, [4, 5]));
    expect(svg)
      .to.match(/fill="#f85149"[^>]*> {3}✘ wrong</)
      .and.to.match(/fill="#3fb950"[^>]*> {3}✔ right</);
    expect(svg).to.contain('$ a &lt;b&gt;').and.not.to.contain('<b>');
  });

  it('is in the README, beside that of the status page', () => {
    const readme = readFileSync(join(repository, 'README.md'), 'utf8');
    for (const image of ['demo.svg', 'status-page.png']) {
      expect(readme).to.contain(`(docs/images/${image})`);
      expect(readFileSync(join(repository, 'docs/images', image))).to.have.length.greaterThan(1_000);
    }
  });
});
