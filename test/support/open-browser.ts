import { type Browser, chromium } from 'playwright-core';
import { findBrowser } from '../../lab/prepare-machine.ts';

/** The path of a Chromium. Without one, the test is skipped, and `make test` has said why. */
export async function requireBrowser(context: Mocha.Context): Promise<string> {
  return (await findBrowser()) ?? context.skip();
}

/** A headless browser. */
export function openBrowser(executablePath: string): Promise<Browser> {
  // As root and in its own network namespace there is no sandbox. The page is our own.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}
