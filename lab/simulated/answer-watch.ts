import { type Answer, type AnswerContext, failure, type SimulatedRequest, type Watcher } from './answer.ts';
import type { ObjectKey, StoredObject, StoreEvent } from './object-store.ts';
import { choosePresentation, presentMetadata, presentObject } from './present.ts';
import { matchesFields, matchesLabels } from './selectors.ts';

const bookmarkEveryMs = 60_000;

/**
 * Streams changes from a resource version on: 410 after a compaction, bookmarks on request, and a clean end after
 * `timeoutSeconds`.
 *
 * An object that begins or ceases to match the selectors is sent as added or deleted, as in kube-apiserver.
 */
export function answerWatch(
  request: SimulatedRequest,
  { store }: AnswerContext,
  { key, apiVersion, kind }: { readonly key: ObjectKey; readonly apiVersion: string; readonly kind: string },
): Answer {
  const { query } = request;
  const matches = (object: StoredObject) =>
    (key.namespace === '' || object.metadata.namespace === key.namespace) &&
    (key.name === '' || object.metadata.name === key.name) &&
    matchesLabels(object, query.get('labelSelector')) &&
    matchesFields(object, query.get('fieldSelector'));
  const metadataOnly = choosePresentation(request) === 'metadata';
  const present = (object: StoredObject) => {
    const shown = presentObject(object, apiVersion, kind);
    return metadataOnly ? presentMetadata(shown) : shown;
  };
  const bookmark = (annotations?: object) => ({
    type: 'BOOKMARK',
    object: { kind, apiVersion, metadata: { resourceVersion: String(store.revision), ...annotations } },
  });
  const tell = (watcher: Watcher, event: StoreEvent) => {
    if (event.resource !== key.resource) return;
    const is = event.type !== 'DELETED' && matches(event.object);
    const was = event.before !== undefined && matches(event.before);
    if (!is && !was) return;
    const type = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED';
    watcher.send({ type, object: present(event.object) });
  };

  const start = (watcher: Watcher): (() => void) => {
    const from = query.get('resourceVersion') ?? '';
    const initial = query.get('sendInitialEvents') === 'true';
    const missed = from === '' || from === '0' || initial ? undefined : store.since(Number(from));
    if (from !== '' && from !== '0' && !initial && missed === undefined) {
      watcher.send({ type: 'ERROR', object: failure(410, 'Expired', `too old resource version: ${from}`) });
      watcher.end();
      return () => {};
    }
    for (const event of missed ?? []) tell(watcher, event);
    if (missed === undefined)
      for (const object of store.list(key.resource, key.namespace).filter(matches))
        watcher.send({ type: 'ADDED', object: present(object) });
    if (initial) watcher.send(bookmark({ annotations: { 'k8s.io/initial-events-end': 'true' } }));
    const stop = store.listen((event) => tell(watcher, event));
    const timeoutSeconds = Number(query.get('timeoutSeconds') ?? 0);
    if (timeoutSeconds > 0) watcher.after(timeoutSeconds * 1_000, () => watcher.end());
    const remind = () => {
      watcher.send(bookmark());
      watcher.after(bookmarkEveryMs, remind);
    };
    if (query.get('allowWatchBookmarks') === 'true') watcher.after(bookmarkEveryMs, remind);
    return stop;
  };
  return { kind: 'watch', start };
}
