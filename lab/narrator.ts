import type { MixedPlane } from './mixed-plane.ts';

/** Tells a story in a terminal, and remembers what did not go as told. */
export interface Narrator {
  say(text?: string): void;
  chapter(title: string): void;
  progress(text: string): void;
  check(held: boolean, claim: string): void;
  /** Runs kubectl for real and shows the command and its output, cut to `lines`. */
  show(
    mixed: Pick<MixedPlane, 'kubectl'>,
    target: string,
    args: readonly string[],
    options?: { readonly input?: string; readonly lines?: number },
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
  /** Claims that did not hold. */
  readonly broken: readonly string[];
}

/** A narrator that writes to standard output, bold where that is a terminal. */
export function createNarrator(): Narrator {
  const broken: string[] = [];
  const say = (text = '') => void process.stdout.write(`${text}\n`);
  return {
    broken,
    say,
    chapter: (title) => say(process.stdout.isTTY ? `\n\u001b[1m${title}\u001b[0m\n` : `\n${title}\n`),
    progress: (text) => say(`   … ${text}`),
    check: (held, claim) => {
      say(`   ${held ? '✔' : '✘'} ${claim}`);
      if (!held) broken.push(claim);
    },
    show: async (mixed, target, args, { input, lines = 40 } = {}) => {
      say(`   $ kubectl --kubeconfig $LAB/${target}.kubeconfig ${args.join(' ')}`);
      const result = await mixed.kubectl(target, args, input);
      const output = `${result.stdout}${result.stderr}`.trimEnd().split('\n');
      for (const line of output.slice(0, lines)) say(`     ${line}`);
      if (output.length > lines) say(`     … (${output.length - lines} more lines)`);
      return result;
    },
  };
}
