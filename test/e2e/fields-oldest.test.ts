import { expect } from 'chai';
import { isBuilt } from '../../lab/build/build-control-plane.ts';
import { deploymentWith, newFields, updateStatusOfDeployment } from '../../lab/demo/demo-fields.ts';
import { createNarrator } from '../../lab/demo/narrator.ts';
import type { MixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type FieldsPlane, startFieldsPlane } from '../support/fields-plane.ts';
import type { WireClient } from '../support/wire-client.ts';

const deployments = '/apis/apps/v1/namespaces/default/deployments';
const fields = newFields['1.33'];
const narrator = createNarrator({ write: () => {}, colours: false });

describe('fields of 1.36 beside a real 1.33', function () {
  this.timeout(600_000);
  let plane: FieldsPlane;
  let mixed: MixedPlane;
  let proxy: WireClient;

  before(async function () {
    // The build takes minutes, so not every test run includes it.
    if (!(await isBuilt('1.33'))) {
      process.stdout.write('      … skipped: `make controlplane VERSIONS=1.33` builds a real 1.33 for this\n');
      return this.skip();
    }
    plane = await startFieldsPlane({
      servers: [
        { name: 'old-1', version: '1.33' },
        { name: 'new-1', version: '1.36' },
      ],
      home: 'old-1',
    });
    ({ mixed, proxy } = plane);
    await waitUntil(
      'all schemas to be compared',
      async () =>
        (await plane.differencesOf('deployments', 'old-1'))?.basis === 'Schemas' &&
        (await kept('probe', '?dryRun=All')),
      { boundMs: 120_000, seen: () => mixed.plane.logTails(10) },
    );
  });
  after(() => plane?.stop());

  /** Creates a Deployment through the proxy. Returns whether the answer has its new fields. */
  async function kept(name: string, query = ''): Promise<boolean> {
    const body = JSON.stringify(deploymentWith(fields, name));
    const headers = ['Content-Type', 'application/json'];
    const answer = await proxy.http1({ method: 'POST', path: `${deployments}${query}`, headers, body }).catch(() => {});
    return answer?.body.includes('hostnameOverride') === true && answer.body.includes('restartPolicyRules');
  }

  it('are lost when its controllers update a status at their server', async () => {
    const seen = await updateStatusOfDeployment(mixed, fields, { target: 'old-1', name: 'lost', narrator });
    expect(seen).to.deep.equal({ kept: false, applied: true });
  });

  it('are kept when they update it through the proxy', async () => {
    const seen = await updateStatusOfDeployment(mixed, fields, { target: 'proxy', name: 'kept', narrator });
    expect(seen).to.deep.equal({ kept: true, applied: true });
    expect((await mixed.kubectl('new-1', ['label', 'deployment', 'kept', 'team=a'])).code).to.equal(0);
  });

  it('are listed in the status', async () => {
    const row = await plane.differencesOf('deployments', 'old-1');
    expect(row?.writers).to.have.length(1);
    const named = row?.appearing?.paths.join(' ');
    expect(named).to.contain('spec.template.spec.hostnameOverride').and.contain('restartPolicyRules');
  });
});
