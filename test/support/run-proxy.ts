import { tuneHeap } from '../../src/bin/tune-heap.ts';
import type { ProxyProcessSettings, ProxyProcessState } from './proxy-process.ts';
import { startProxyUnderTest } from './proxy-under-test.ts';

tuneHeap();
const { caPem, certPem, keyPem, home, limits } = JSON.parse(process.argv[2] ?? '') as ProxyProcessSettings;
const authority = { caPem, issue: () => ({ certPem, keyPem }) };
const { port, proxy } = await startProxyUnderTest(authority, { address: home }, { limits });
process.on('message', async () => {
  global.gc?.();
  const state: ProxyProcessState = {
    port,
    resident: process.memoryUsage.rss(),
    peak: process.resourceUsage().maxRSS * 1024,
    inFlight: proxy.inFlight(),
    metrics: await proxy.metrics.text(),
  };
  process.send?.(state);
});
// The parent process is gone.
process.on('disconnect', () => process.exit());
