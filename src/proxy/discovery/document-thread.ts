import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { joinBytes } from '../../domain/join-bytes.ts';
import { parseOpenApiIndexText } from '../../domain/merge-openapi.ts';
import { createProtobufMerge } from '../../domain/merge-openapi-protobuf.ts';
import { createSwaggerMerge, type SwaggerMerge } from '../../domain/merge-swagger.ts';
import { messageOf } from '../../runtime/message-of.ts';
import type { DocumentAnswer, DocumentQuestion } from './document-messages.ts';

// A program for a separate thread, so that slow work here delays no request.

/** Answers questions in order, and remembers earlier questions. */
function createReader(): (question: DocumentQuestion) => DocumentAnswer {
  let only: Uint8Array<ArrayBuffer> | undefined;
  let merge: SwaggerMerge | undefined;
  return (question) => {
    switch (question.kind) {
      case 'index':
        return { kind: 'index', index: parseOpenApiIndexText(joinBytes(question.pieces)) };
      case 'add': {
        const document = joinBytes(question.pieces);
        only = merge === undefined ? document : undefined;
        merge ??= question.form === 'json' ? createSwaggerMerge() : createProtobufMerge();
        return { kind: 'added', hash: hashOf(document), unreadable: faultOf(merge, document) };
      }
      case 'finish': {
        const body = only ?? merge?.finish() ?? new Uint8Array();
        return { kind: 'merged', body, hash: hashOf(body) };
      }
    }
  };
}

function faultOf(merge: SwaggerMerge, document: Uint8Array): string | undefined {
  try {
    merge.add(document);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** The hash that kube-apiserver uses for ETags. */
function hashOf(bytes: Uint8Array): string {
  return createHash('sha512').update(bytes).digest('hex').toUpperCase();
}

const answer = createReader();
parentPort?.on('message', (question: DocumentQuestion) => {
  const said = answer(question);
  parentPort?.postMessage(said, said.kind === 'merged' ? [said.body.buffer] : []);
});
