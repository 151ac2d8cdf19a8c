import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { proxyUsage } from '../src/flags/proxy-flags.ts';

const file = fileURLToPath(new URL('../docs/reference/proxy-flags.md', import.meta.url));
const text = `# Flags of \`peerdiscovery proxy\`

<!-- Generated from src/flags/proxy-flags.ts by \`make generate\`; do not edit. -->

\`\`\`text
${proxyUsage.trimEnd()}
\`\`\`

What the identity flags mean, and what each mode needs, is in the [guide on identity](../guides/identity.md).
`;

if (process.argv.includes('--check')) {
  if ((await readFile(file, 'utf8').catch(() => '')) !== text) {
    console.error('docs/reference/proxy-flags.md is out of date: run `make generate` and commit the result');
    process.exitCode = 1;
  }
} else await writeFile(file, text);
