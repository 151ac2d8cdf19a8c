import { readFields } from './protobuf-reader.ts';
import { bytesField, message, type Part } from './protobuf-writer.ts';

/** `k8s\0`, the prefix of every object in protobuf. */
const magic: readonly number[] = [0x6b, 0x38, 0x73, 0];

/** Wraps an object as kube-apiserver does. Source: `Unknown` in `pkg/runtime/generated.proto` of apimachinery. */
export function wrapUnknown(apiVersion: string, kind: string, raw: Part): Uint8Array {
  const typeMeta = message(bytesField(1, apiVersion), bytesField(2, kind));
  const unknown = message(bytesField(1, typeMeta), bytesField(2, raw), bytesField(3, ''), bytesField(4, ''));
  return message(Uint8Array.from(magic), unknown);
}

/**
 * The kind and the bytes of a wrapped object; undefined if it is not wrapped.
 * @throws InvalidProtobufError
 */
export function unwrapUnknown(bytes: Uint8Array): { readonly kind: string; readonly raw: Uint8Array } | undefined {
  if (!magic.every((byte, at) => bytes[at] === byte)) return undefined;
  const unknown = readFields(bytes.subarray(magic.length));
  const bytesOf = (id: number) => unknown.findLast((field) => field.id === id)?.value;
  const kind = readFields(bytesOf(1) ?? message()).findLast(({ id }) => id === 2)?.value;
  const raw = bytesOf(2);
  return kind === undefined || raw === undefined ? undefined : { kind: new TextDecoder().decode(kind), raw };
}
