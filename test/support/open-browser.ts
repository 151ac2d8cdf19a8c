import { type Browser, chromium } from 'playwright-core';
import { findBrowser } from '../../lab/prepare-machine.ts';

/** Path of a Chromium; where there is none, the test is skipped, and `make test` has said why. */
export async function requireBrowser(context: Mocha.Context): Promise<string> {
  return (await findBrowser()) ?? context.skip();
}

/** A browser without a window. */
export function openBrowser(executablePath: string): Promise<Browser> {
  // As root, and in a network namespace of its own, there is no sandbox; the page is our own.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}
