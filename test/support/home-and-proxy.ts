import { type LoopbackPeer, startLoopbackPeer } from './loopback-peer.ts';
import { type ProxyUnderTest, type ProxyUnderTestOptions, startProxyUnderTest } from './proxy-under-test.ts';
import type { TestAuthority } from './test-certificates.ts';

/** One kube-apiserver and the proxy whose home it is. */
export interface HomeAndProxy {
  readonly home: LoopbackPeer;
  readonly proxy: ProxyUnderTest;
}

/** Starts a home and its proxy before each test of the suite, gives them to `take`, and stops them after the test. */
export function startHomeAndProxyForEach(
  authority: TestAuthority,
  take: (started: HomeAndProxy) => void,
  options: ProxyUnderTestOptions = {},
): void {
  let started: HomeAndProxy | undefined;
  beforeEach(async () => {
    const home = await startLoopbackPeer('home', authority);
    started = { home, proxy: await startProxyUnderTest(authority, home, options) };
    take(started);
  });
  afterEach(async () => {
    await started?.proxy.stop();
    await started?.home.kill();
  });
}
