import { attacks } from './attacks.ts';
import { doorAttacks } from './door-attacks.ts';
import type { Attack } from './open-connections.ts';

/**
 * The attack of this name, on whichever port.
 * @throws Error if none has it.
 */
export function findAttack(name: string): Attack {
  const all: Readonly<Record<string, Attack>> = { ...attacks, ...doorAttacks };
  const found = Object.hasOwn(all, name) ? all[name] : undefined;
  if (found === undefined) throw new Error(`unknown attack: ${name}`);
  return found;
}
