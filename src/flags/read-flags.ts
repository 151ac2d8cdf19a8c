import { parseArgs } from 'node:util';
import { didYouMean } from '../domain/closest-name.ts';
import { readDuration } from '../domain/read-duration.ts';

/** The flags that a program takes, by name. */
export type FlagOptions = Readonly<Record<string, FlagOption>>;

interface FlagOption {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  readonly default?: string | boolean;
}

/** The other arguments that a program may take. */
export interface FlagRules<Name extends string> {
  /** The flags that one of its commands takes; all if absent. */
  readonly takes?: readonly Name[];
  /** True if it takes positional arguments. */
  readonly takesArguments?: boolean;
}

/** The given flags, to be read one by one. `problems` collects every error with its cure. */
export interface GivenFlags<Name extends string> {
  readonly problems: string[];
  readonly help: boolean;
  /** The positional arguments. */
  readonly arguments: readonly string[];
  /** Undefined if the flag is absent and has no default. */
  text(flag: Name): string | undefined;
  required(flag: Name): string;
  /** Every value of a repeatable flag. */
  list(flag: Name): readonly string[];
  isOn(flag: Name): boolean;
  /** The first choice if the value is not one of them. */
  oneOf<Choice extends string>(flag: Name, choices: readonly [Choice, ...Choice[]]): Choice;
  /** A whole number within these limits; `what` describes it in the message. */
  number(flag: Name, min: number, max: number, what: string): number;
  /** Milliseconds. */
  duration(flag: Name, what?: string, minMs?: number, maxMs?: number): number;
  /** `HOST:PORT`, or undefined for `0`. */
  endpoint(flag: Name): string | undefined;
}

/** Reads a command line; it reports every bad flag at once. */
export function readFlags<Options extends FlagOptions>(
  args: readonly string[],
  options: Options,
  rules: FlagRules<keyof Options & string> = {},
): GivenFlags<keyof Options & string> {
  type Name = keyof Options & string;
  const { values, positionals, tokens } = parseArgs({
    args: args.map(joinShort),
    options: options as Record<string, FlagOption>,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const problems: string[] = [];
  const takes: readonly string[] = rules.takes ?? Object.keys(options);
  for (const token of tokens) {
    if (token.kind === 'positional' && rules.takesArguments !== true)
      problems.push(`unexpected argument ${JSON.stringify(token.value)}`);
    if (token.kind !== 'option') continue;
    const known = takes.includes(token.name) ? options[token.name] : undefined;
    const problem =
      known === undefined ? unknownFlag(token.rawName, takes) : misuseOf(known, token.rawName, token.value);
    if (problem !== undefined) problems.push(problem);
  }

  const list = (flag: Name) =>
    [values[flag] ?? []].flat().filter((value) => typeof value === 'string' && value !== '') as string[];
  const text = (flag: Name) => list(flag)[0];
  const refuse = (flag: Name, what: string) => problems.push(`--${flag} must be ${what}, not ${shown(text(flag))}`);
  return {
    problems,
    help: values.help === true,
    arguments: positionals,
    text,
    list,
    isOn: (flag) => values[flag] === true,
    required(flag) {
      if (values[flag] === undefined) problems.push(`--${flag} is needed`);
      return text(flag) ?? '';
    },
    oneOf(flag, choices) {
      const found = choices.find((choice) => choice === text(flag));
      if (found === undefined) refuse(flag, `one of ${choices.join(', ')}`);
      return found ?? choices[0];
    },
    number(flag, min, max, what) {
      const given = text(flag) ?? '';
      const value = /^[0-9]{1,9}$/.test(given) ? Number(given) : Number.NaN;
      if (!(value >= min && value <= max)) refuse(flag, what);
      return value;
    },
    duration(flag, what = 'a duration such as 5s, 500ms or 1m30s', minMs = 0, maxMs = Number.POSITIVE_INFINITY) {
      const given = text(flag) ?? '';
      // Go's flags take a bare 0 for a duration, too.
      const ms = given === '0' ? 0 : readDuration(given);
      if (ms === undefined || ms < minMs || ms > maxMs) refuse(flag, what);
      return ms ?? 0;
    },
    endpoint(flag) {
      const value = text(flag) ?? '';
      if (value !== '0' && !/^(?:\[[0-9a-f:.]+\]|[^\s:[\]]*):[0-9]{1,5}$/i.test(value))
        refuse(flag, 'HOST:PORT, :PORT, or 0 for none');
      return value === '0' ? undefined : value;
    },
  };
}

/** As kubectl reads it, `-o=json` is `-ojson`. Source: `parseSingleShortArg` of github.com/spf13/pflag. */
function joinShort(argument: string): string {
  return argument.replace(/^(-[a-z])=/i, '$1');
}

const fewFlags = 10;

function unknownFlag(flag: string, taken: readonly string[]): string {
  const names = taken.map((name) => `--${name}`);
  const meant = didYouMean(flag, names);
  if (names.length > fewFlags) return `unknown flag ${flag}${meant}; see --help`;
  return `unknown flag ${flag}${meant}${meant === '' ? '; it' : ' It'} takes ${names.join(', ')}`;
}

function misuseOf({ type }: FlagOption, flag: string, value: string | undefined): string | undefined {
  if (type === 'string') return value === undefined || value === '' ? `${flag} needs a value` : undefined;
  return value === undefined ? undefined : `${flag} takes no value; leave ${JSON.stringify(value)} out`;
}

function shown(value: string | undefined): string {
  return value === undefined ? 'empty' : JSON.stringify(value);
}
