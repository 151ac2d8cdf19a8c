import type { ApiClient } from './api-client.ts';

/**
 * The same client, but it sends no write while `may` returns false.
 *
 * It asks when the write begins, and again just before the write goes onto its connection: if the process was suspended
 * while it waited for one, it may no longer have the right to write.
 */
export function writeWhile(client: ApiClient, may: () => boolean): ApiClient {
  const beforeSending = () => {
    if (!may()) throw new Error('this process no longer leads, so it writes nothing');
  };
  const fence = <Args extends readonly unknown[], Result>(write: (...args: Args) => Promise<Result>) =>
    async function fenced(...args: Args): Promise<Result> {
      beforeSending();
      return await write(...args);
    };
  return {
    ...client,
    create: fence((path, object, options) =>
      client.create(path, object, { ...options, beforeSending }),
    ) as ApiClient['create'],
    apply: fence((path, object, options) =>
      client.apply(path, object, { ...options, beforeSending }),
    ) as ApiClient['apply'],
    patchMerge: fence((path, patch, options) =>
      client.patchMerge(path, patch, { ...options, beforeSending }),
    ) as ApiClient['patchMerge'],
    replace: fence((path, object, options) =>
      client.replace(path, object, { ...options, beforeSending }),
    ) as ApiClient['replace'],
    delete: fence((path, options) => client.delete(path, { ...options, beforeSending })),
  };
}
