import { expect } from 'chai';
import type { Outcome } from '../../lab/cluster/machine.ts';
import { newApiOf } from '../../lab/cluster/new-api.ts';
import { type ClientUser, workloads } from '../../lab/cluster/workloads.ts';

const done: Outcome = { code: 0, stdout: 'hasNewApi: \\"true\\"', stderr: '' };
const failed: Outcome = { code: 1, stdout: '', stderr: 'no matches for kind "Workload"' };

/** A user whose commands end as `answer` says, and the commands that it has run. */
function userWith(answer: (command: string) => Outcome): { user: ClientUser; ran: string[] } {
  const ran: string[] = [];
  const user: ClientUser = {
    namespace: 'clients',
    toolPods: ['tool-1'],
    chart: 'chart',
    newApi: { ...newApiOf('v1.36.3'), isServed: false },
    run: async (command) => {
      ran.push(command.join(' '));
      return answer(command.join(' '));
    },
    stream: () => ({ output: () => '', hasEnded: () => true, kill: async () => {} }),
  };
  return { user, ran };
}

function workload(name: RegExp) {
  const found = workloads.find((one) => name.test(one.name));
  if (found === undefined) throw new Error(`no workload matches ${name}`);
  return found;
}

describe('Workloads of real clients', () => {
  it('delete a namespace whose object no server takes yet, and do not count it', async () => {
    const { user, ran } = userWith((command) => (command.endsWith('-f -') ? failed : done));
    expect(await workload(/^a namespace/).attempt(user, 1)).to.deep.equal({ ending: 'early' });
    expect(ran.at(-1)).to.equal('kubectl delete namespace clients-doomed-1 --timeout=150s');
  });

  it('count a refused object of the new API once some server has taken one', async () => {
    const { user } = userWith((command) => (command.endsWith('-f -') ? failed : done));
    user.newApi.isServed = true;
    const { ending, message } = await workload(/^a namespace/).attempt(user, 1);
    expect(ending).to.equal('failed');
    expect(message).to.equal('kubectl create: no matches for kind "Workload"');
  });

  it('remember that a server takes objects of the new API', async () => {
    const { user } = userWith(() => done);
    expect(await workload(/^a namespace/).attempt(user, 1)).to.deep.equal({ ending: 'ok' });
    expect(user.newApi.isServed).to.equal(true);
  });

  it('let Helm miss an API only while no server has it', async () => {
    const without = { ...done, stdout: 'hasNewApi: \\"false\\"' };
    const { user, ran } = userWith(() => without);
    expect(await workload(/helm/).attempt(user, 1)).to.deep.equal({ ending: 'ok' });
    user.newApi.isServed = true;
    expect((await workload(/helm/).attempt(user, 2)).ending).to.equal('failed');
    expect(ran.at(-1)).to.equal('helm uninstall release-2 -n clients');
  });

  it('count a stream that ends before its first line as a failed start', async () => {
    const { user } = userWith(() => done);
    for (const name of [/exec/, /logs/, /port-forward/])
      expect((await workload(name).attempt(user, 1)).ending).to.equal('failed');
  });
});
