import { expect } from 'chai';
import { type CycloneDx, keepShippedCycloneDx, keepShippedSpdx } from '../../scripts/write-sbom.ts';

const shipped = [
  { name: 'installed', version: '1.0.0' },
  { name: 'bundled', version: '2.0.0' },
];

describe('make sbom', () => {
  it('lists installed and bundled packages in CycloneDX, but no tool and no other version', () => {
    const development = [{ name: 'cdx:npm:package:development' }];
    const component = (name: string, version: string, properties?: CycloneDx['components'][number]['properties']) => ({
      'bom-ref': `${name}@${version}`,
      name,
      version,
      ...(properties !== undefined && { properties }),
    });
    const { components, dependencies } = keepShippedCycloneDx(
      {
        metadata: { component: { 'bom-ref': 'us' } },
        components: [
          component('installed', '1.0.0'),
          component('installed', '0.9.0'),
          component('bundled', '2.0.0', development),
          component('tool', '1.0.0', development),
        ],
        dependencies: [
          { ref: 'us', dependsOn: ['installed@1.0.0', 'tool@1.0.0'] },
          { ref: 'tool@1.0.0', dependsOn: [] },
        ],
      },
      shipped,
    );
    expect(components.map((one) => one['bom-ref'])).to.deep.equal(['installed@1.0.0', 'bundled@2.0.0']);
    expect(components[1]?.properties, 'it is not for development only').to.deep.equal([]);
    expect(dependencies).to.deep.equal([{ ref: 'us', dependsOn: ['installed@1.0.0'] }]);
  });

  it('lists the same in SPDX', () => {
    const spdx = (name: string, versionInfo: string) => ({ SPDXID: `SPDXRef-${name}`, name, versionInfo });
    const of = (spdxElementId: string, relatedSpdxElement: string) => ({ spdxElementId, relatedSpdxElement });
    const { packages, relationships } = keepShippedSpdx(
      {
        documentDescribes: ['SPDXRef-us'],
        packages: [spdx('us', '0.1.0'), spdx('bundled', '2.0.0'), spdx('tool', '1.0.0')],
        relationships: [
          of('SPDXRef-DOCUMENT', 'SPDXRef-us'),
          of('SPDXRef-bundled', 'SPDXRef-us'),
          of('SPDXRef-tool', 'SPDXRef-us'),
        ],
      },
      shipped,
    );
    expect(packages.map(({ name }) => name)).to.deep.equal(['us', 'bundled']);
    expect(relationships).to.have.length(2);
  });
});
