import { expect } from 'chai';
import { readEnvironment } from '../../src/flags/environment.ts';
import { readFlags } from '../../src/flags/read-flags.ts';

const options = {
  mode: { type: 'string', default: 'fast' },
  wait: { type: 'string', default: '5s' },
  port: { type: 'string', default: '0' },
  bind: { type: 'string', default: '0' },
  name: { type: 'string', multiple: true },
  quiet: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

describe('readFlags', () => {
  it('reads each kind of flag, and its default if it is absent', () => {
    const given = readFlags(['--name=a', '--name', 'b', '--quiet', '--port=6443', '--bind=[::1]:80'], options);
    expect(given.list('name')).to.deep.equal(['a', 'b']);
    expect(given.isOn('quiet')).to.equal(true);
    expect(given.number('port', 0, 65_535, 'a port')).to.equal(6443);
    expect(given.endpoint('bind')).to.equal('[::1]:80');
    expect(given.oneOf('mode', ['slow', 'fast'])).to.equal('fast');
    expect(given.duration('wait')).to.equal(5_000);
    expect(given.problems).to.deep.equal([]);
  });

  it('reports all errors at once, each with its cure', () => {
    const given = readFlags(
      ['--mode=odd', '--wait=90', '--port=1e3', '--bind=here', '--quiet=yes', '--nam=a', 'x'],
      options,
    );
    given.oneOf('mode', ['slow', 'fast']);
    given.duration('wait');
    given.number('port', 0, 65_535, 'a port from 0 to 65535');
    given.endpoint('bind');
    expect(given.problems).to.deep.equal([
      '--quiet takes no value; leave "yes" out',
      'unknown flag --nam; did you mean --name? It takes --mode, --wait, --port, --bind, --name, --quiet, --help',
      'unexpected argument "x"',
      '--mode must be one of slow, fast, not "odd"',
      '--wait must be a duration such as 5s, 500ms or 1m30s, not "90"',
      '--port must be a port from 0 to 65535, not "1e3"',
      '--bind must be HOST:PORT, :PORT, or 0 for none, not "here"',
    ]);
  });

  it('reports a missing flag, and a missing value', () => {
    const given = readFlags(['--name='], options);
    given.required('name');
    expect(given.problems).to.deep.equal(['--name needs a value']);
    const without = readFlags([], options);
    without.required('name');
    expect(without.problems).to.deep.equal(['--name is needed']);
  });

  it('reads -o=json as kubectl does', () => {
    const short = { output: { type: 'string', short: 'o' } } as const;
    for (const args of [['-o=json'], ['-ojson'], ['-o', 'json']])
      expect(readFlags(args, short).text('output')).to.equal('json');
  });

  it('accepts a bare 0 for a duration, as Go does', () => {
    expect(readFlags(['--wait=0'], options).duration('wait')).to.equal(0);
  });
});

describe('readEnvironment', () => {
  it('reads nothing from an empty environment', () => {
    expect(readEnvironment({})).to.deep.equal({
      kubeconfigFiles: [],
      service: undefined,
      home: undefined,
      color: true,
      isWorker: false,
    });
  });

  it('reads the files of KUBECONFIG, where the API is, and who wants no color', () => {
    const service = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
    expect(readEnvironment({ KUBECONFIG: '/a::/b', ...service }).kubeconfigFiles).to.deep.equal(['/a', '/b']);
    expect(readEnvironment(service).service).to.deep.equal({ host: '10.96.0.1', port: '443' });
    expect(readEnvironment({ NO_COLOR: '1' }).color).to.equal(false);
    expect(readEnvironment({ TERM: 'dumb' }).color).to.equal(false);
  });
});
