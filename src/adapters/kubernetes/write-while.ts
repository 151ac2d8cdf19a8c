import type { ApiClient } from './api-client.ts';

/** The same client, which sends no write while `may` is false: each is refused before anything is sent. */
export function writeWhile(client: ApiClient, may: () => boolean): ApiClient {
  const fence = <Args extends readonly unknown[], Result>(write: (...args: Args) => Promise<Result>) =>
    async function fenced(...args: Args): Promise<Result> {
      if (!may()) throw new Error('nothing is written: this process no longer leads');
      return await write(...args);
    };
  return {
    ...client,
    create: fence(client.create) as ApiClient['create'],
    apply: fence(client.apply) as ApiClient['apply'],
    patchMerge: fence(client.patchMerge) as ApiClient['patchMerge'],
    replace: fence(client.replace) as ApiClient['replace'],
    delete: fence(client.delete),
  };
}
