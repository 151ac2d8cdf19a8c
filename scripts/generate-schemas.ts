// Writes docs/schemas/routing-bundle.schema.json from the schema in src/api.
import { writeFile } from 'node:fs/promises';
import { RoutingBundleSchema } from '../src/api/routing-bundle-schema.ts';

const target = new URL('../docs/schemas/routing-bundle.schema.json', import.meta.url);
await writeFile(target, `${JSON.stringify(RoutingBundleSchema, null, 2)}\n`);
