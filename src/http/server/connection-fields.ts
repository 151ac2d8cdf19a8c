import type { RawHeaders } from '../fields.ts';

/** Fields of an answer that are not simply passed on, because they describe its framing or one connection. */
export function kindOfField(name: string): 'content-length' | 'trailer' | 'hop' | undefined {
  switch (name.length) {
    case 7: {
      const lower = name.toLowerCase();
      return lower === 'trailer' ? 'trailer' : lower === 'upgrade' ? 'hop' : undefined;
    }
    case 10: {
      const lower = name.toLowerCase();
      return lower === 'connection' || lower === 'keep-alive' ? 'hop' : undefined;
    }
    case 14:
      return name.toLowerCase() === 'content-length' ? 'content-length' : undefined;
    case 17:
      return name.toLowerCase() === 'transfer-encoding' ? 'hop' : undefined;
    default:
      return undefined;
  }
}

/** The fields that an interim answer may have: none about a body. */
export function interimFields(rawHeaders: RawHeaders): RawHeaders {
  return rawHeaders.filter((_text, at) => kindOfField(rawHeaders[at - (at % 2)] ?? '') === undefined);
}

/** False for fields that trailers must not have, such as framing. RFC 9110, section 6.5.1. */
export function mayBeTrailer(name: string): boolean {
  return kindOfField(name) === undefined && name.toLowerCase() !== 'host';
}
