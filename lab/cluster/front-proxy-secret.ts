import { runGuide } from './guide-steps.ts';
import type { Machine } from './machine.ts';
import { waitUntilReread } from './reread-files.ts';

/** Renews the proxies' Secret as docs/guides/certificates.md says. Resolves when every proxy has read it. */
export async function renewFrontProxySecret(machines: readonly [Machine, ...Machine[]]): Promise<void> {
  const [first] = machines;
  const since = new Date();
  await runGuide(first, 'certificates.md', 'peerdiscovery-front-proxy-client');
  await waitUntilReread(machines, 'front-proxy', since);
}
