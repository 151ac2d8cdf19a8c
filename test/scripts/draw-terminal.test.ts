import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { repository } from '../../lab/repository.ts';
import {
  chaptersOf,
  commandsForReadme,
  drawTerminal,
  pictures,
  withoutTimes,
  writeIntoReadme,
} from '../../scripts/draw-terminal.ts';

describe('the picture of the demo', () => {
  const output = '\n0. First\n\n   a\n\n4. Damage\n\n   $ a <b>\n   ✘ wrong\n\n5. Cure\n\n   ✔ right\n\n6. Last\n';

  it('shows the requested chapters, and names missing ones', () => {
    expect(chaptersOf(output, [4, 5])).to.equal('4. Damage\n\n   $ a <b>\n   ✘ wrong\n\n5. Cure\n\n   ✔ right');
    expect(() => chaptersOf(output, [4, 9])).to.throw('no chapter 9');
  });

  it('colours right and wrong results, and escapes markup', () => {
    const svg = drawTerminal(chaptersOf(output, [4, 5]));
    expect(svg)
      .to.match(/fill="#f85149"[^>]*> {3}✘ wrong</)
      .and.to.match(/fill="#3fb950"[^>]*> {3}✔ right</);
    expect(svg).to.contain('$ a &lt;b&gt;').and.not.to.contain('<b>');
  });

  it('gives the README the commands with their output, as with the usual kubeconfig', () => {
    const story = [
      '   $ kubectl --kubeconfig $LAB/old-1.kubeconfig get peerdiscovery',
      '     NAME      AGE',
      '     cluster   2s',
      '   ✔ three peers',
      '   $ kubectl peerdiscovery explain pods --kubeconfig $LAB/old-1.kubeconfig',
      '     GET /api/v1/pods',
      '',
      '     PEER  SERVES IT',
      '   ✔ it names the server',
    ].join('\n');
    const text = commandsForReadme(story);
    expect(text).to.equal(
      '$ kubectl get peerdiscovery\nNAME      AGE\ncluster   2s\n\n$ kubectl peerdiscovery explain pods\nGET /api/v1/pods\n\nPEER  SERVES IT\n',
    );
    const readme = 'a\n<!-- make demo-picture writes this -->\n```\nold\n```\nb\n';
    expect(writeIntoReadme(readme, text)).to.equal(readme.replace('old\n', text));
    expect(() => commandsForReadme('')).to.throw('no command like');
    expect(() => writeIntoReadme('', text)).to.throw('no place');
  });

  it('is the same for runs that differ only in times', () => {
    expect(withoutTimes('AGE\ncluster   2s, after 5.5 s')).to.equal(withoutTimes('AGE\ncluster 40s, after 10.1 s'));
    expect(withoutTimes('3 peers')).not.to.equal(withoutTimes('4 peers'));
  });

  it('is in the README with the others', () => {
    const readme = readFileSync(join(repository, 'README.md'), 'utf8');
    for (const image of [...Object.keys(pictures), 'status-page.png']) {
      expect(readme).to.contain(`(docs/images/${image})`);
      expect(readFileSync(join(repository, 'docs/images', image))).to.have.length.greaterThan(1_000);
    }
  });
});
