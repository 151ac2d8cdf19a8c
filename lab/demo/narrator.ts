import type { MixedPlane } from '../plane/mixed-plane.ts';

/** Tells a story in a terminal, and remembers the claims that failed. */
export interface Narrator {
  say(text?: string): void;
  /** Prints the title of the story. */
  heading(title: string): void;
  chapter(title: string): void;
  progress(text: string): void;
  check(held: boolean, claim: string): void;
  /** Shows a command with its output, cut to 40 lines. */
  output(command: string, text: string): void;
  /** Runs kubectl and shows the command and its output. */
  show(
    mixed: Pick<MixedPlane, 'kubectl'>,
    target: string,
    args: readonly string[],
    options?: { readonly input?: string },
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
  /** Claims that did not hold. */
  readonly broken: readonly string[];
}

/** The output of a story. */
export interface Stage {
  write(text: string): unknown;
  readonly colours: boolean;
}

const shownLines = 40;
const styles = { bold: '1', red: '31', green: '32', cyan: '36', dim: '2' } as const;

/** Standard output. It is coloured on a terminal with colours, unless NO_COLOR is set. */
export function standardStage(stream: NodeJS.WriteStream = process.stdout): Stage {
  return { write: (text) => stream.write(text), colours: stream.isTTY === true && stream.hasColors() };
}

/** A narrator that writes to this stage. */
export function createNarrator(stage: Stage = standardStage()): Narrator {
  const broken: string[] = [];
  const paint = (style: keyof typeof styles, text: string) =>
    stage.colours ? `\u001b[${styles[style]}m${text}\u001b[0m` : text;
  const say = (text = '') => void stage.write(`${text}\n`);
  const output: Narrator['output'] = (command, text) => {
    say(`   ${paint('cyan', `$ ${command}`)}`);
    const lines = text.trimEnd().split('\n');
    for (const line of lines.slice(0, shownLines)) say(line === '' ? '' : `     ${line}`);
    if (lines.length > shownLines) say(paint('dim', `     … (${lines.length - shownLines} more lines)`));
  };
  return {
    broken,
    say,
    heading: (title) => say(paint('bold', title)),
    chapter: (title) => say(`\n${paint('bold', title)}\n`),
    progress: (text) => say(paint('dim', `   … ${text}`)),
    check: (held, claim) => {
      say(`   ${held ? paint('green', '✔') : paint('red', '✘')} ${claim}`);
      if (!held) broken.push(claim);
    },
    output,
    show: async (mixed, target, args, { input } = {}) => {
      const result = await mixed.kubectl(target, args, input);
      output(`kubectl --kubeconfig $LAB/${target}.kubeconfig ${args.join(' ')}`, result.stdout + result.stderr);
      return result;
    },
  };
}
