import { expect } from 'chai';
import { discoveryEtag } from '../../src/runtime/discovery-etag.ts';

describe('discoveryEtag', () => {
  it('is the upper-case SHA-512 that kube-apiserver 1.36 gives an empty document and one group', () => {
    expect(discoveryEtag([])).to.equal(
      'E31D92F2F415F58D79E51A08706C00FE868ED961736AD66A944AC75AA3682B3324F1787C9AF1250F28E111EEF86B2C3CD65FC48D3A283E0598FFA800177D68C1',
    );
    expect(discoveryEtag([{ name: 'x' }])).to.equal(
      '0F17C61CCBB392FB2BCF2D130523A3583F7A1C11B1C8F2AF92F28BEB9B11444F14F7A6702C06C2C1AD0310EA84E6A809BB39878AF306A872FF53A1A2C88BD1B7',
    );
  });
});
