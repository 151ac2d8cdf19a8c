import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { ProxyLimits } from '../../src/proxy/limits.ts';
import type { TestAuthority } from './test-certificates.ts';

/** The parameters of the process; see `run-proxy.ts`. */
export interface ProxyProcessSettings {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
  readonly home: string;
  readonly limits: Partial<ProxyLimits>;
}

/** The reports of the process. */
export interface ProxyProcessState {
  readonly port: number;
  /** Resident memory now, after a collection. */
  readonly resident: number;
  /** Peak resident memory. */
  readonly peak: number;
  readonly inFlight: number;
  readonly metrics: string;
}

/** A proxy in its own process, so that its memory is separate. */
export interface ProxyProcess {
  readonly port: number;
  state(): Promise<ProxyProcessState>;
  stop(): Promise<void>;
}

/** Starts a proxy with the Node flags of the image. */
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
