import type { StoredObject } from './object-store.ts';

/** True if the object matches the `labelSelector` of a request. */
export function matchesLabels(object: StoredObject, selector: string | null): boolean {
  const labels = object.metadata.labels ?? {};
  // Commas inside parentheses separate values, not terms.
  const terms = (selector ?? '').split(/,(?![^(]*\))/).filter((term) => term.trim() !== '');
  return terms.every((term) => {
    const [, name = '', operator = '', list = ''] = /^\s*([^\s!=(]+)\s+(in|notin)\s*\(([^)]*)\)\s*$/.exec(term) ?? [];
    if (operator !== '') {
      const listed = list.split(',').some((value) => value.trim() === labels[name]);
      return operator === 'in' ? listed : !listed;
    }
    const [, key = '', comparison = '', value = ''] = /^\s*(!?[^\s!=]+)\s*(==|!=|=)?\s*(.*?)\s*$/.exec(term) ?? [];
    if (comparison === '') return key.startsWith('!') ? labels[key.slice(1)] === undefined : labels[key] !== undefined;
    return (labels[key] === value) === (comparison !== '!=');
  });
}

/** True if the object matches the `fieldSelector` of a request. */
export function matchesFields(object: StoredObject, selector: string | null): boolean {
  const terms = (selector ?? '').split(',').filter((term) => term !== '');
  return terms.every((term) => {
    const [, path = '', comparison = '', value = ''] = /^([^!=]+)(==|!=|=)(.*)$/.exec(term) ?? [];
    let found: unknown = object;
    for (const part of path.split('.')) found = (found as Record<string, unknown> | undefined)?.[part];
    return (String(found ?? '') === value) === (comparison !== '!=');
  });
}
