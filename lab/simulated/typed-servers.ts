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
  /** What is stored, whatever any server knows of it. */
  get(key: ObjectKey): StoredObject | undefined;
  /** The answer of a server with these types. */
  answer(types: Types, request: SimulatedRequest): Answer;
  /** What a server with these types serves, and how it describes the kinds of these groups by `group/version`. */
  describe(
    types: Types,
    groups: readonly string[],
  ): { readonly groups: readonly GroupDiscovery[]; readonly openapi: ReadonlyMap<string, object> };
}

/** Servers of which no two need know the same of these fields. */
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
