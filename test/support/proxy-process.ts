import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { ProxyLimits } from '../../src/proxy/limits.ts';
import type { TestAuthority } from './test-certificates.ts';

/** What the process is told; see `run-proxy.ts`. */
export interface ProxyProcessSettings {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
  readonly home: string;
  readonly limits: Partial<ProxyLimits>;
}

/** What the process says of itself. */
export interface ProxyProcessState {
  readonly port: number;
  /** Resident memory now, after a collection. */
  readonly resident: number;
  /** The most that was ever resident. */
  readonly peak: number;
  readonly inFlight: number;
  readonly metrics: string;
}

/** A proxy in a process of its own, so that its memory is its own. */
export interface ProxyProcess {
  readonly port: number;
  state(): Promise<ProxyProcessState>;
  stop(): Promise<void>;
}

/** Starts a proxy with the flags of Node that the image has. */
export async function startProxyProcess(
  authority: TestAuthority,
  home: string,
  limits: Partial<ProxyLimits> = {},
): Promise<ProxyProcess> {
  const { certPem, keyPem } = authority.issue({ commonName: 'proxy', dnsNames: ['localhost'] });
  const settings: ProxyProcessSettings = { caPem: authority.caPem, certPem, keyPem, home, limits };
  const child = fork(new URL('./run-proxy.ts', import.meta.url), [JSON.stringify(settings)], {
    execArgv: [...process.execArgv, '--expose-gc', '--max-semi-space-size=8'],
  });
  const state = async () => {
    child.send('state');
    const [answer] = (await once(child, 'message')) as [ProxyProcessState];
    return answer;
  };
  const { port } = await state();
  return {
    port,
    state,
    stop: async () => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
