import { expect } from 'chai';
import { attacks } from '../../lab/attack/attacks.ts';
import { doorAttacks } from '../../lab/attack/door-attacks.ts';
import { measureAttack } from '../../lab/attack/measure-attack.ts';
import { measureDoorAttack } from '../../lab/attack/measure-door-attack.ts';
import { chartLimitBytes, startAttackScene } from '../../lab/attack/start-scene.ts';

/** The proxy has its default flags. `make attack` runs the same attacks for longer, and writes a report. */
describe('attacks without a credential on a proxy with real kube-apiservers', function () {
  this.timeout(180_000);
  let scene: Awaited<ReturnType<typeof startAttackScene>>;
  before(async () => {
    scene = await startAttackScene(2, (message) => void process.stdout.write(`      … ${message}\n`));
  });
  after(async () => scene?.mixed.stop());

  for (const attack of Object.keys(attacks))
    it(`cost known users nothing: ${attack}`, async () => {
      const { attacked, peakBytes, isAlive } = await measureAttack(scene, attack);
      expect(isAlive, 'the attacker goes on').to.equal(true);
      expect(attacked.requests).to.be.above(10);
      expect(attacked.failed, 'requests of others that failed').to.equal(0);
      expect(peakBytes).to.be.below(chartLimitBytes());
    });

  for (const attack of Object.keys(doorAttacks))
    it(`keep no probe, scrape or reader of the status page out: ${attack}`, async () => {
      const { visits, failures, users, isAlive } = await measureDoorAttack(scene, attack);
      expect(isAlive, 'the attacker goes on').to.equal(true);
      expect(visits.requests).to.be.above(5);
      expect(failures).to.deep.equal([]);
      expect(users.failed, 'requests of users that failed').to.equal(0);
    });
});
