import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { repository } from '../../lab/repository.ts';
import { documentationUrl, pageAt } from '../../src/domain/documentation-url.ts';
import { operatorUsage, parseOperatorFlags } from '../../src/flags/operator-flags.ts';
import { parseProxyFlags, proxyUsage } from '../../src/flags/proxy-flags.ts';
import { commandNames, runPlugin } from '../../src/plugin/run-plugin.ts';
import { fakePlugin } from '../support/fake-cluster.ts';

/** The command lines under `Examples:` in a help text, without the program's name. A backslash continues a line. */
function examplesOf(help: string, program: string): readonly (readonly string[])[] {
  const [, text = ''] = help.split('Examples:\n');
  return text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.startsWith(`  ${program} `))
    .map((line) =>
      line
        .trim()
        .slice(program.length + 1)
        .split(' '),
    );
}

async function run(...args: string[]) {
  const { context, written } = fakePlugin(0);
  // Endless commands were stopped.
  return { code: await runPlugin(args, { ...context, signal: AbortSignal.abort() }), ...written };
}

describe('the help of every program', function () {
  this.timeout(120_000);

  it('has examples in each command of the plugin, and every example is a valid command line', async () => {
    for (const name of commandNames.filter((command) => !['merge', 'help'].includes(command))) {
      const { code, stdout } = await run(name, '--help');
      expect(code, name).to.equal(0);
      const examples = examplesOf(stdout, 'kubectl peerdiscovery');
      expect(examples, stdout).to.have.length.greaterThan(0);
      for (const example of examples) expect((await run(...example)).code, example.join(' ')).not.to.equal(2);
      expect(await run('help', name), name).to.deep.equal({ code: 0, stdout, stderr: '' });
    }
    expect(examplesOf((await run('help')).stdout, 'kubectl peerdiscovery')).to.have.length.greaterThan(0);
  });

  it('fits a terminal of 80 columns in each command of the plugin', async () => {
    for (const command of ['', ...commandNames.filter((name) => !['help', 'merge'].includes(name))]) {
      const { stdout } = await run(...(command === '' ? [] : [command]), '--help');
      expect(
        stdout.split('\n').filter((line) => line.length > 80),
        command,
      ).to.deep.equal([]);
    }
  });

  it('has examples for the operator and the proxy', () => {
    const operator = examplesOf(operatorUsage, 'peerdiscovery operator');
    expect(operator).to.have.length.greaterThan(0);
    for (const example of operator)
      expect(parseOperatorFlags(example), example.join(' ')).to.include({ kind: 'flags' });
    const proxy = examplesOf(proxyUsage.replace('Examples:\n\n', 'Examples:\n'), 'peerdiscovery proxy');
    expect(proxy).to.have.length.greaterThan(0);
    for (const example of proxy) expect(parseProxyFlags(example), example.join(' ')).to.include({ kind: 'flags' });
  });

  it('has examples for the program itself, its merge and its version', () => {
    const program = join(repository, 'src/bin/peerdiscovery.ts');
    for (const args of [['--help'], ['merge', '--help'], ['version', '--help'], ['help', 'merge']]) {
      const { status, stdout } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
      expect(status, args.join(' ')).to.equal(0);
      expect(examplesOf(stdout, 'peerdiscovery'), args.join(' ')).to.have.length.greaterThan(0);
    }
    const version = (...args: string[]) =>
      spawnSync(process.execPath, [program, 'version', ...args], { encoding: 'utf8' });
    expect(JSON.parse(version('-o', 'json').stdout)).to.have.keys('version', 'node');
    expect(version('-o', 'xml').status).to.equal(2);
    const unknown = spawnSync(process.execPath, [program, 'oparator'], { encoding: 'utf8' });
    expect(unknown.stderr).to.contain('did you mean operator?');
  });
});

describe('unknown names', function () {
  this.timeout(120_000);

  it('get a hint with the name that was probably meant', async () => {
    expect((await run('status', '--outptu', 'json')).stderr).to.contain('did you mean --output?');
    const parsed = parseOperatorFlags(['--metric-bind-address', ':8443']);
    expect('problems' in parsed && parsed.problems.join()).to.contain('did you mean --metrics-bind-address?');
    const proxy = parseProxyFlags(['--peer-ca', 'a']);
    expect('problems' in proxy && proxy.problems.join()).to.contain('did you mean --peer-ca-file?');
    const program = join(repository, 'src/bin/kubectl-peerdiscovery.ts');
    const { status, stderr } = spawnSync(process.execPath, [program, 'staus'], { encoding: 'utf8' });
    expect(status).to.equal(2);
    expect(stderr).to.contain('did you mean status?');
    const help = (name: string) => spawnSync(process.execPath, [program, 'help', name], { encoding: 'utf8' });
    expect(help('explian').stderr).to.contain('unknown command "explian"; did you mean explain?');
    expect(help('merge').stdout).to.contain('--local');
    expect(help('help').status).to.equal(0);
    const merge = spawnSync(process.execPath, [program, 'merge', '--locl', 'a'], { encoding: 'utf8' });
    expect(merge.stderr).to.contain('did you mean --local?');
  });
});

describe('the documentation that programs mention', () => {
  const sources = (folder: string): readonly string[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? sources(path) : path.endsWith('.ts') ? [path] : [];
    });

  it('is a page that is shipped with them, or one at the address that a release has', () => {
    const pages = sources(join(repository, 'src')).flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/documentationUrl\('([^']+)'\)/g)].map(([, page = '']) => page),
    );
    expect(pages).to.have.length.greaterThan(0);
    const { files } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    expect(files).to.include('docs');
    for (const page of pages) {
      expect(statSync(join(repository, 'docs', page)).isFile(), page).to.equal(true);
      expect(documentationUrl(page)).to.equal(`docs/${page}, which comes with this program`);
      expect(pageAt('https://example.com/docs/', page)).to.equal(`https://example.com/docs/${page}`);
    }
  });

  it('is at no address that the project does not own', () => {
    const folders = ['src', 'charts', 'config', 'docs', 'lab', 'scripts'];
    const texts = spawnSync('grep', ['-rnE', 'https?://([a-z.-]*\\.)?peerdiscovery\\.dev', ...folders, 'README.md'], {
      cwd: repository,
      encoding: 'utf8',
    });
    expect(texts.stdout).to.equal('');
  });

  it('is never a path that exists only in a clone', () => {
    for (const path of sources(join(repository, 'src'))) {
      const code = readFileSync(path, 'utf8').replaceAll(/^\s*(\*|\/\/|\/\*\*).*$/gm, '');
      expect(code, path).not.to.match(/\bdocs\/(guides|reference|runbooks|decisions)/);
    }
  });
});
