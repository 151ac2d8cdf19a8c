import { expect } from 'chai';
import { createNarrator, standardStage } from '../../lab/demo/narrator.ts';

describe('the narrator of the demo', () => {
  async function tell(colours: boolean): Promise<string> {
    let text = '';
    const narrator = createNarrator({
      colours,
      write: (more) => {
        text += more;
      },
    });
    narrator.chapter('1. First');
    narrator.check(true, 'holds');
    narrator.check(false, 'breaks');
    const kubectl = async () => ({
      code: 0,
      stdout: Array.from({ length: 42 }, (_, n) => `line ${n}\n`).join(''),
      stderr: '',
    });
    await narrator.show({ kubectl }, 'old-1', ['get', 'pods']);
    expect(narrator.broken).to.deep.equal(['breaks']);
    return text;
  }

  it('prints kept claims in green and broken ones in red, on a terminal with colours', async () => {
    const text = await tell(true);
    expect(text).to.contain('\u001b[32m✔\u001b[0m holds').and.to.contain('\u001b[31m✘\u001b[0m breaks');
  });

  it('prints the same without an escape, on a terminal without colours', async () => {
    const plain = await tell(false);
    expect(plain).not.to.contain('\u001b');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is the escape that is looked for.
    expect((await tell(true)).replaceAll(/\u001b\[\d+m/g, '')).to.equal(plain);
    expect(plain).to.contain('     line 39\n     … (2 more lines)\n');
  });

  it('asks the terminal whether it has colours; a file has none', () => {
    const stream = (isTTY: boolean, has: boolean) =>
      ({ isTTY, hasColors: () => has, write: () => true }) as unknown as NodeJS.WriteStream;
    expect(standardStage(stream(true, true)).colours).to.equal(true);
    expect(standardStage(stream(true, false)).colours).to.equal(false);
    expect(standardStage(stream(false, true)).colours).to.equal(false);
  });
});
