import { openWatches } from '../bench/watches.ts';

/** A namespace in which watches have no events after its one object. */
export const idleNamespace = 'load-idle';

/** Opens this many watches, half of them over each protocol. Returns a counter of the open ones. */
export async function openIdleWatches(
  access: { readonly url: string; readonly caFile: string; readonly token: string },
  count: number,
): Promise<() => number> {
  let ended = 0;
  const more = { path: `/api/v1/namespaces/${idleNamespace}/configmaps?watch=1`, onEnd: () => void ended++ };
  const half = Math.floor(count / 2);
  await openWatches({ ...access, ...more, protocol: 'h2' }, half);
  await openWatches({ ...access, ...more, protocol: 'h1' }, count - half);
  return () => count - ended;
}
