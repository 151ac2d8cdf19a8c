#!/usr/bin/env node
/** `kubectl_complete-peerdiscovery`: kubectl runs it with the words of the command line, to complete the last one. */
process.argv.splice(2, 0, '__complete');
await import('./kubectl-peerdiscovery.ts');
