import { Worker } from 'node:worker_threads';
import type { Clock } from '../../runtime/clock.ts';
import type { DocumentAnswer, DocumentQuestion } from './document-messages.ts';

/** A thread that reads servers' documents, so that no request waits for it. */
export interface DocumentReader {
  /** Rejects if reading takes too long or too much memory. The reader cannot be used after that. */
  ask<Kind extends DocumentAnswer['kind']>(
    kind: Kind,
    question: DocumentQuestion,
  ): Promise<DocumentAnswer & { readonly kind: Kind }>;
  /** Ends the thread, and frees all its memory. */
  close(): void;
}

/** The memory that a thread may use besides the bytes of the documents. */
const maxHeapMegabytes = 128;

/** Starts a thread. Each question has `withinMs`; one that takes longer ends the thread. */
export function openDocumentReader({
  clock,
  withinMs = 15_000,
}: {
  readonly clock: Clock;
  readonly withinMs?: number;
}): DocumentReader {
  // Next to this file, both in the sources and in a build.
  const program = new URL(`./document-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
  const worker = new Worker(program, {
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMegabytes, maxYoungGenerationSizeMb: 16 },
  });
  // A thread alone does not keep the process alive.
  worker.unref();
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  const waiting: ((answer: DocumentAnswer) => void)[] = [];
  worker.on('message', (answer: DocumentAnswer) => waiting.shift()?.(answer));
  worker.on('error', (error) => fail(error instanceof Error ? error : new Error(String(error))));
  worker.on('exit', () => fail(new Error('the thread that reads documents has ended')));
  const close = () => {
    fail(new Error('the thread that reads documents was closed'));
    worker.terminate().catch(() => {});
  };
  return {
    ask: async (kind, question) => {
      const pieces = 'pieces' in question ? question.pieces : [];
      const answered = new Promise<DocumentAnswer>((resolve) => waiting.push(resolve));
      worker.postMessage(
        question,
        pieces.map(({ buffer }) => buffer),
      );
      const done = new AbortController();
      void clock.sleep(withinMs, done.signal).then(() => {
        if (done.signal.aborted) return;
        fail(new Error(`it could not be read within ${withinMs / 1_000} s`));
        close();
      });
      try {
        return expectKind(kind, await Promise.race([answered, failed]));
      } finally {
        done.abort();
      }
    },
    close,
  };
}

function expectKind<Kind extends DocumentAnswer['kind']>(
  kind: Kind,
  answer: DocumentAnswer,
): DocumentAnswer & { readonly kind: Kind } {
  if (answer.kind !== kind) throw new Error(`the thread that reads documents said ${answer.kind}, not ${kind}`);
  return answer as DocumentAnswer & { readonly kind: Kind };
}
