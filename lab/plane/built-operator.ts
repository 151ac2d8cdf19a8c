import type { ChildProcess } from 'node:child_process';
import { nodeFlags } from '../../scripts/build-rootfs.ts';
import { buildProduct } from '../build/build-product.ts';
import type { MixedPlane } from './mixed-plane.ts';

/** Starts the shipped operator. It uses the server with this name. */
export function startBuiltOperator({ plane }: MixedPlane, server: string): ChildProcess {
  const { url } = plane.server(server);
  const kubeconfig = plane.kubeconfig({ server: url, token: plane.tokens.operator, name: 'built-operator' });
  const flags = ['--kubeconfig', kubeconfig, '--namespace', 'peerdiscovery-system', '--log-format', 'text'];
  return plane.spawn(process.execPath, [...nodeFlags, buildProduct(), 'operator', ...flags], {
    name: 'built-operator',
  });
}

/** Sends SIGTERM. Resolves when the operator has ended. */
export async function endOperator(operator: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => operator.once('exit', resolve));
  operator.kill('SIGTERM');
  await ended;
}
