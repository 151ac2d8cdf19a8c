import { expect } from 'chai';
import { chooseBuilder, imageBuilders } from '../../scripts/build-image.ts';
import { chooseCluster, describeLoaded, imageLoaders } from '../../scripts/load-image.ts';

/** A machine on which only the commands of these programs work. */
const machineWith =
  (...programs: readonly string[]) =>
  (command: readonly string[]) =>
    programs.some((program) => command.join(' ').includes(`${program} `));

describe('make image', () => {
  for (const { name } of imageBuilders)
    it(`builds with ${name} if nothing else works`, () => {
      const builder = chooseBuilder(undefined, machineWith(name));
      expect(builder.name).to.equal(name);
      expect(builder.build('localhost/a:1', '/context')).to.include.members([name, 'localhost/a:1', '/context']);
      expect(builder.save('localhost/a:1', '/a.tar').join(' ')).to.contain('/a.tar');
    });

  it('prefers docker, and skips installed programs that do not work', () => {
    expect(chooseBuilder(undefined, () => true).name).to.equal('docker');
    expect(chooseBuilder('podman', () => true).name).to.equal('podman');
  });

  it('says what to install if nothing works, and which programs can be chosen', () => {
    const nothing = () => false;
    expect(() => chooseBuilder(undefined, nothing)).to.throw(/install one of docker, podman, buildah/);
    expect(() => chooseBuilder('podman', nothing)).to.throw(/podman does not work here/);
    expect(() => chooseBuilder('kaniko', () => true)).to.throw(/BUILDER=kaniko is not known/);
  });
});

/** The output of each program for a cluster of this name, like that of the real ones. */
const printed = (cluster: string): Readonly<Record<string, string>> => ({
  kind: `${cluster}\n`,
  k3d: `${cluster}   1/1       0/0      true\n`,
  minikube: JSON.stringify({ invalid: [{ Name: 'broken' }], valid: [{ Name: cluster, Status: 'OK' }] }),
  k3s: 'Client:\n  Version: v2\n',
  ctr: 'Client:\n  Version: v2\n',
});

/** A machine with one cluster of each of these programs, or with the given output. */
const clustersOf =
  (programs: readonly string[], texts: Readonly<Record<string, string>> = printed('dev')) =>
  ([program = '']: readonly string[]) =>
    programs.includes(program) ? texts[program] : undefined;

const everything = clustersOf(Object.keys(printed('dev')));

describe('make load', () => {
  for (const { name, list } of imageLoaders)
    it(`loads into ${name} if there is no other cluster`, () => {
      const { loader, cluster } = chooseCluster(undefined, 'far-away', clustersOf([list[0] ?? '']));
      expect(loader.name).to.equal(name);
      expect(loader.load('/a.tar', cluster)).to.include('/a.tar');
    });

  it('names the cluster to the program, which would use its default otherwise', () => {
    const commandFor = (program: string) => {
      const { loader, cluster } = chooseCluster(undefined, undefined, clustersOf([program]));
      return loader.load('/a.tar', cluster).join(' ');
    };
    expect(commandFor('kind')).to.equal('kind load image-archive /a.tar --name dev');
    expect(commandFor('k3d')).to.equal('k3d image import /a.tar --cluster dev');
    expect(commandFor('minikube')).to.equal('minikube image load /a.tar --profile dev');
  });

  it('takes the named cluster, whatever else is there', () => {
    const several = clustersOf(['kind', 'ctr'], { kind: 'dev\nother\n', ctr: 'Client:' });
    expect(chooseCluster('containerd', 'kind-dev', several).loader.name).to.equal('containerd');
    expect(chooseCluster('kind/other', 'kind-dev', several).cluster).to.equal('other');
    expect(chooseCluster('kind', 'kind-other', several).cluster).to.equal('other');
  });

  it("prefers the cluster of kubectl's context", () => {
    expect(chooseCluster(undefined, 'k3d-dev', everything).loader.name).to.equal('k3d');
    expect(chooseCluster(undefined, 'dev', everything).loader.name).to.equal('minikube');
    expect(chooseCluster(undefined, 'default', everything).loader.name).to.equal('k3s');
    expect(chooseCluster(undefined, undefined, everything).loader.name).to.equal('kind');
  });

  it('names the cluster, and how to reach it if kubectl speaks to another', () => {
    const kind = chooseCluster('kind', undefined, everything);
    expect(describeLoaded('a.tar', kind, 'kind-dev')).to.equal('a.tar is loaded into kind, cluster dev');
    expect(describeLoaded('a.tar', kind, 'prod')).to.match(/kubectl config use-context kind-dev/);
    expect(describeLoaded('a.tar', chooseCluster('containerd', undefined, everything), 'prod')).to.equal(
      'a.tar is loaded into containerd',
    );
  });

  it('gives the cure if there is no cluster or more than one, and the choices', () => {
    const nothing = () => undefined;
    expect(() => chooseCluster(undefined, 'far-away', nothing)).to.throw(/no local cluster was found .*push the image/);
    expect(() => chooseCluster('kind', undefined, nothing)).to.throw(
      /"kind get clusters": start it, or push the image/,
    );
    expect(() => chooseCluster('eks', undefined, everything)).to.throw(/CLUSTER=eks is not known: choose one of kind/);
    expect(() => chooseCluster('kind/x', undefined, everything)).to.throw(/kind has no cluster x here: .* takes dev/);
    const two = clustersOf(['kind'], { kind: 'dev\nother\n' });
    expect(() => chooseCluster(undefined, 'far-away', two)).to.throw(
      /several clusters \(dev, other\).*CLUSTER=kind\/dev/,
    );
    const noProfile = clustersOf(['minikube'], { minikube: '{"invalid":[],"valid":null}' });
    expect(() => chooseCluster(undefined, undefined, noProfile)).to.throw(/no local cluster/);
  });
});
