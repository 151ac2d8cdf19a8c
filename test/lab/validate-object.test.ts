import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createValidator } from '../../lab/others/validate-object.ts';

describe('the errors of an object under a version of Kubernetes', () => {
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-validate-'));
    const schemas = {
      'io.k8s.api.apps.v1.Deployment': {
        type: 'object',
        properties: {
          apiVersion: { type: 'string' },
          kind: { type: 'string' },
          metadata: { type: 'object' },
          spec: { allOf: [{ $ref: '#/components/schemas/Spec' }], default: {} },
        },
      },
      Spec: {
        type: 'object',
        required: ['selector'],
        properties: {
          selector: { type: 'object', additionalProperties: { type: 'string' } },
          replicas: { type: 'integer' },
          surge: { oneOf: [{ type: 'integer' }, { type: 'string' }] },
          ports: { type: 'array', items: { type: 'object', properties: { name: { type: 'string' } } } },
          policy: { type: 'string', enum: ['A', 'B'] },
        },
      },
    };
    writeFileSync(join(folder, 'apis__apps__v1_openapi.json'), JSON.stringify({ components: { schemas } }));
  });

  after(() => {
    rmSync(folder, { recursive: true });
  });

  const problems = (spec: object, kind = 'Deployment', apiVersion = 'apps/v1') =>
    createValidator(folder)({ apiVersion, kind, metadata: { name: 'a' }, spec } as never);

  it('are none if all fields are known', () => {
    const spec = { selector: { a: 'b' }, replicas: 1, surge: '25%', ports: [{ name: 'x' }], policy: 'A' };
    expect(problems(spec)).to.deep.equal([]);
  });

  it('name a field that is unknown, has another type, or is missing', () => {
    for (const [spec, problem] of [
      [{ selector: {}, replica: 1 }, '.spec.replica: is not known'],
      [{ selector: {}, replicas: '1' }, '.spec.replicas: "1" is no integer'],
      [{ selector: { a: 1 } }, '.spec.selector.a: 1 is no string'],
      [{ replicas: 1 }, '.spec.selector: is required'],
      [{ selector: {}, ports: [{ nam: 'x' }] }, '.spec.ports[0].nam: is not known'],
      [{ selector: {}, ports: {} }, '.spec.ports: {} is no list'],
      [{ selector: {}, policy: 'C' }, '.spec.policy: C is none of A,B'],
    ] as const)
      expect(problems(spec)).to.deep.equal([problem]);
    expect(problems({ selector: {}, surge: true })).to.have.length(2);
  });

  it('include an unknown kind or version', () => {
    expect(problems({}, 'Deploymen')).to.deep.equal(['there is no Deploymen of apps/v1']);
    expect(problems({}, 'Deployment', 'apps/v2')).to.deep.equal(['there is no Deployment of apps/v2']);
  });
});
