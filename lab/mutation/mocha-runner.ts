import { resolve } from 'node:path';
import fc from 'fast-check';
import Mocha from 'mocha';

/** The global that Stryker's instrumented code and its test runner share. */
interface InstrumenterContext {
  activeMutant?: string | undefined;
  currentTestId?: string | undefined;
  mutantCoverage?: unknown;
  hitCount?: number | undefined;
  hitLimit?: number | undefined;
}

interface TestResult {
  readonly id: string;
  readonly name: string;
  /** 0 means passed, 1 failed. */
  readonly status: 0 | 1;
  readonly timeSpentMs: number;
  readonly failureMessage?: string;
}

interface MutantRun {
  readonly activeMutant: { readonly id: string };
  readonly mutantActivation: 'static' | 'runtime';
  readonly testFilter?: readonly string[];
  readonly hitLimit?: number;
}

interface Options {
  readonly mocha: { readonly files: readonly string[] };
}

/**
 * Runs the tests for Stryker in one process. A global switches the mutant on.
 *
 * Stryker's own mocha runner reads internal files of mocha, which mocha 12 has moved. Source of the contract:
 * `TestRunner` of `@stryker-mutator/api`.
 */
class MochaRunner {
  static readonly inject = ['options'] as const;
  readonly #files: readonly string[];
  readonly #context: InstrumenterContext;
  #mocha: Mocha | undefined;
  #results: TestResult[] = [];

  constructor(options: Options) {
    this.#files = options.mocha.files;
    const globals = globalThis as { __stryker__?: InstrumenterContext };
    globals.__stryker__ ??= {};
    this.#context = globals.__stryker__;
  }

  /** Modules load once, so a mutant in code that runs when a module loads needs a new process. */
  async capabilities() {
    return { reloadEnvironment: false };
  }

  async dryRun() {
    const mocha = await this.#load();
    const context = this.#context;
    const noteTest = function (this: Mocha.Context) {
      context.currentTestId = this.currentTest?.fullTitle();
    };
    mocha.suite.beforeEach(noteTest);
    await this.#run(mocha);
    context.currentTestId = undefined;
    return { status: 'complete', tests: this.#results, mutantCoverage: context.mutantCoverage };
  }

  async mutantRun({ activeMutant, mutantActivation, testFilter, hitLimit }: MutantRun) {
    const context = this.#context;
    context.hitLimit = hitLimit;
    context.hitCount = hitLimit === undefined ? undefined : 0;
    context.activeMutant = mutantActivation === 'static' ? activeMutant.id : undefined;
    let mocha: Mocha;
    try {
      mocha = await this.#load();
    } catch (error) {
      return { status: 'killed', failureMessage: String(error), killedBy: ['the module loads'], nrOfTests: 0 };
    }
    mocha.grep(
      testFilter === undefined ? /(?:)/ : new RegExp(testFilter.map((id) => `^${escapePattern(id)}$`).join('|')),
    );
    context.activeMutant = activeMutant.id;
    await this.#run(mocha);
    context.activeMutant = undefined;
    if (hitLimit !== undefined && (context.hitCount ?? 0) > hitLimit)
      return { status: 'timeout', reason: `ran one place ${hitLimit} times` };
    const failed = this.#results.filter(({ status }) => status === 1);
    const nrOfTests = this.#results.length;
    return failed.length === 0
      ? { status: 'survived', nrOfTests }
      : {
          status: 'killed',
          failureMessage: failed[0]?.failureMessage,
          killedBy: failed.map(({ id }) => id),
          nrOfTests,
        };
  }

  async #load(): Promise<Mocha> {
    if (this.#mocha !== undefined) return this.#mocha;
    // Nobody reads why a property fails here, so there is no need to look for the smallest example. Most mutants that a
    // property notices at all fail on one of the first examples.
    fc.configureGlobal({ endOnFailure: true, numRuns: 25 });
    // Stryker has its own time limit, based on the time of the tests without a mutant.
    const mocha = new Mocha({ reporter: SilentReporter, timeout: 0, bail: true });
    mocha.cleanReferencesAfterRun(false);
    for (const file of this.#files) mocha.addFile(resolve(file));
    await mocha.loadFilesAsync();
    this.#mocha = mocha;
    return mocha;
  }

  #run(mocha: Mocha): Promise<void> {
    this.#results = [];
    const note = (test: Mocha.Test, status: 0 | 1, failureMessage?: string) => {
      const id = (test.ctx?.currentTest ?? test).fullTitle();
      const timeSpentMs = test.duration ?? 0;
      this.#results.push({
        id,
        name: id,
        status,
        timeSpentMs,
        ...(failureMessage !== undefined && { failureMessage }),
      });
    };
    return new Promise((done) => {
      const runner = mocha.run(() => done());
      runner.on('pass', (test) => note(test, 0));
      runner.on('fail', (test, error: Error) => note(test, 1, error.message));
    });
  }
}

class SilentReporter extends Mocha.reporters.Base {
  override epilogue(): void {}
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** The part of a syntax tree node that Stryker shows, with Babel's names. */
interface SyntaxPath {
  readonly node: {
    readonly type: string;
    readonly value?: unknown;
    readonly quasis?: readonly { readonly value: { readonly raw: string } }[];
  };
}

/** Leaves texts for people unchanged. Tests assert only words that programs depend on, and those contain no spaces. */
const ignoreProse = {
  shouldIgnore({ node }: SyntaxPath): string | undefined {
    const texts = node.type === 'TemplateLiteral' ? (node.quasis ?? []).map(({ value }) => value.raw) : [node.value];
    const isProse = texts.some((text) => typeof text === 'string' && /\w \w| $|^ /.test(text));
    return isProse ? 'a text for people' : undefined;
  },
};

/** Stryker reads this export of a plugin. */
export const strykerPlugins = [
  { kind: 'TestRunner', name: 'mocha', injectableClass: MochaRunner },
  { kind: 'Ignore', name: 'prose', value: ignoreProse },
];
