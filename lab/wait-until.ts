/**
 * Polls until `check` returns something other than undefined or false. After `boundMs`, fails with the last state seen.
 */
export async function waitUntil<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  {
    boundMs = 90_000,
    everyMs = 100,
    seen = () => '',
  }: { boundMs?: number; everyMs?: number; seen?: () => string } = {},
): Promise<T> {
  const end = Date.now() + boundMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}: ${seen()}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
