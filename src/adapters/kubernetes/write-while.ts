import type { ApiClient } from './api-client.ts';

/**
 * The same client, which sends no write while `may` is false.
 *
 * It asks when the write begins, and again when it is about to go onto its connection: a process that was stopped
 * while it waited for one may no longer write what it wanted to.
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
