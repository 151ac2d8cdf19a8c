import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import type { Answer, SimulatedRequest } from './answer.ts';
import { answerResource } from './answer-resource.ts';
import { createObjectStore, type ObjectKey, type StoredObject } from './object-store.ts';
import { createServedApis } from './served-apis.ts';
import { describeKinds, type SimulatedFields, type Types, throughTypes } from './typed-fields.ts';

/** Servers that share one store and differ only in their types, without sockets or time. */
export interface TypedServers {
  readonly fields: SimulatedFields;
  /** Stores an object past the types of all servers. */
  put(key: ObjectKey, object: Readonly<Record<string, unknown>>): void;
  /** The stored objects, whatever any server knows of them. */
  get(key: ObjectKey): StoredObject | undefined;
  /** The answer of a server with these types. */
  answer(types: Types, request: SimulatedRequest): Answer;
  /** The APIs of a server with these types, and its descriptions of these groups' kinds, by `group/version`. */
  describe(
    types: Types,
    groups: readonly string[],
  ): { readonly groups: readonly GroupDiscovery[]; readonly openapi: ReadonlyMap<string, object> };
}

/** Servers that may each know different ones of these fields. */
export function createTypedServers(fields: SimulatedFields): TypedServers {
  const store = createObjectStore(() => 0);
  return {
    fields,
    put: (key, object) => void store.put(key, object),
    get: (key) => store.get(key),
    answer: (types, request) => {
      const apis = createServedApis(types.served);
      return answerResource(request, { apis, store: throughTypes(store, () => types), users: new Map() }, 0);
    },
    describe: (types, names) => {
      const groups = createServedApis(types.served)
        .groups()
        .filter(({ name }) => names.includes(name));
      return { groups, openapi: describeKinds(groups, types) };
    },
  };
}
