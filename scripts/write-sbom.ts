import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { captureCommand } from './run-command.ts';
import { type LockedPackage, readPackages } from './shipped-packages.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The parts of a CycloneDX bill of materials that are read here. All others are passed on. */
export interface CycloneDx {
  readonly serialNumber?: string;
  readonly metadata: { readonly timestamp?: string; readonly component: { readonly 'bom-ref': string } };
  readonly components: readonly {
    readonly 'bom-ref': string;
    readonly name: string;
    readonly version: string;
    readonly properties?: readonly { readonly name: string }[];
  }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** The parts of an SPDX document that are read here. */
export interface Spdx {
  readonly packages: readonly { readonly SPDXID: string; readonly name: string; readonly versionInfo: string }[];
  readonly relationships: readonly { readonly spdxElementId: string; readonly relatedSpdxElement: string }[];
  readonly documentDescribes: readonly string[];
}

type Named = Pick<LockedPackage, 'name' | 'version'>;

const namesOf = (shipped: readonly Named[]) => new Set(shipped.map(({ name, version }) => `${name}@${version}`));

/** Keeps only shipped packages, without development dependencies. */
export function keepShippedCycloneDx(bill: CycloneDx, shipped: readonly Named[]): CycloneDx {
  const names = namesOf(shipped);
  const kept = bill.components.filter(({ name, version }) => names.has(`${name}@${version}`));
  const refs = new Set([bill.metadata.component['bom-ref'], ...kept.map((component) => component['bom-ref'])]);
  const components = kept.map(({ properties = [], ...component }) => ({
    ...component,
    properties: properties.filter(({ name }) => name !== 'cdx:npm:package:development'),
  }));
  const dependencies = bill.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((other) => refs.has(other)) }));
  return { ...bill, components, dependencies };
}

/** The same for SPDX. */
export function keepShippedSpdx(bill: Spdx, shipped: readonly Named[]): Spdx {
  const names = namesOf(shipped);
  const packages = bill.packages.filter(
    ({ SPDXID, name, versionInfo }) => bill.documentDescribes.includes(SPDXID) || names.has(`${name}@${versionInfo}`),
  );
  const ids = new Set(['SPDXRef-DOCUMENT', ...packages.map(({ SPDXID }) => SPDXID)]);
  const relationships = bill.relationships.filter(
    ({ spdxElementId, relatedSpdxElement }) => ids.has(spdxElementId) && ids.has(relatedSpdxElement),
  );
  return { ...bill, packages, relationships };
}

/** Node itself is in the image. */
const isShipped = ({ name, shipped }: LockedPackage) => shipped !== undefined || /^node(-bin-.*)?$/.test(name);

async function main(): Promise<void> {
  const shipped = (await readPackages()).filter(isShipped);
  const folder = join(root, 'dist');
  const read = (format: string) => JSON.parse(captureCommand(['npm', 'sbom', `--sbom-format=${format}`], root));
  const write = (name: string, bill: object) => writeFileSync(join(folder, name), `${JSON.stringify(bill, null, 2)}\n`);
  mkdirSync(folder, { recursive: true });
  write('sbom.cdx.json', keepShippedCycloneDx(read('cyclonedx') as CycloneDx, shipped));
  write('sbom.spdx.json', keepShippedSpdx(read('spdx') as Spdx, shipped));
}

if (import.meta.main) await main();
