import { expect } from 'chai';
import { chooseBuilder, imageBuilders } from '../../scripts/build-image.ts';
import { chooseLoader, imageLoaders } from '../../scripts/load-image.ts';

/** A machine on which the commands of these programs alone work. */
const machineWith =
  (...programs: readonly string[]) =>
  (command: readonly string[]) =>
    programs.some((program) => command.join(' ').includes(`${program} `));

describe('make image', () => {
  for (const { name } of imageBuilders)
    it(`builds by ${name} where nothing else works`, () => {
      const builder = chooseBuilder(undefined, machineWith(name));
      expect(builder.name).to.equal(name);
      expect(builder.build('localhost/a:1', '/context')).to.include.members([name, 'localhost/a:1', '/context']);
      expect(builder.save('localhost/a:1', '/a.tar').join(' ')).to.contain('/a.tar');
    });

  it('prefers docker, and passes over what is installed but does not work', () => {
    expect(chooseBuilder(undefined, () => true).name).to.equal('docker');
    expect(chooseBuilder('podman', () => true).name).to.equal('podman');
  });

  it('says what to install where nothing works, and what may be chosen', () => {
    const nothing = () => false;
    expect(() => chooseBuilder(undefined, nothing)).to.throw(/install one of docker, podman, buildah/);
    expect(() => chooseBuilder('podman', nothing)).to.throw(/podman does not work here/);
    expect(() => chooseBuilder('kaniko', () => true)).to.throw(/BUILDER=kaniko is not known/);
  });
});

describe('make load', () => {
  for (const { name, probe } of imageLoaders)
    it(`loads into ${name} where no other cluster is`, () => {
      const loader = chooseLoader(undefined, (command) => command === probe);
      expect(loader.name).to.equal(name);
      expect(loader.load('/a.tar')).to.include('/a.tar');
    });

  it('takes the cluster that is named, whatever else is there', () => {
    expect(chooseLoader('containerd', () => true).name).to.equal('containerd');
  });

  it('says the cure where there is none, and what may be chosen', () => {
    expect(() => chooseLoader(undefined, () => false)).to.throw(
      /no local cluster was found .*CLUSTER=.*push the image/,
    );
    expect(() => chooseLoader('eks', () => true)).to.throw(/CLUSTER=eks is not known: choose one of kind/);
  });
});
