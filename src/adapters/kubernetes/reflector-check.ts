import type { ReadinessCheck } from '../serving/http-endpoint.ts';
import type { Reflector } from './reflector.ts';

/** A readiness check that fails until the objects have been listed once, and says why they have not. */
export function reflectorCheck(
  name: string,
  reflector: Pick<Reflector<unknown>, 'synced' | 'failing'>,
): ReadinessCheck {
  return {
    name,
    get ok() {
      return reflector.synced;
    },
    get message() {
      return reflector.failing?.message ?? 'not listed yet';
    },
  };
}
