import type {
  GroupDiscovery,
  GroupVersionKind,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from '../../src/domain/discovery-document.ts';
import type { SimulatedVersion } from './version-profile.ts';

const allVerbs = 'create,delete,deletecollection,get,list,patch,update,watch';

/**
 * The APIs that kube-apiserver serves by default, in the order of 1.36.3. `since` and `until` are minors of 1.x.
 *
 * Sources: the `nopeer` documents of real servers of 1.33 to 1.36, and the Kubernetes release notes for earlier
 * versions.
 */
const table = `
[v1]
bindings binding Binding Namespaced create
componentstatuses componentstatus ComponentStatus Cluster get,list short=cs
configmaps configmap ConfigMap Namespaced all short=cm
endpoints endpoints Endpoints Namespaced all short=ep
events event Event Namespaced all short=ev
limitranges limitrange LimitRange Namespaced all short=limits
namespaces namespace Namespace Cluster create,delete,get,list,patch,update,watch short=ns
  /finalize Namespace update
  /status Namespace get,patch,update
nodes node Node Cluster all short=no
  /proxy NodeProxyOptions create,delete,get,patch,update
  /status Node get,patch,update
persistentvolumeclaims persistentvolumeclaim PersistentVolumeClaim Namespaced all short=pvc
  /status PersistentVolumeClaim get,patch,update
persistentvolumes persistentvolume PersistentVolume Cluster all short=pv
  /status PersistentVolume get,patch,update
pods pod Pod Namespaced all short=po in=all
  /attach PodAttachOptions create,get
  /binding Binding create
  /ephemeralcontainers Pod get,patch,update
  /eviction policy/v1/Eviction create
  /exec PodExecOptions create,get
  /log Pod get
  /portforward PodPortForwardOptions create,get
  /proxy PodProxyOptions create,delete,get,patch,update
  /resize Pod get,patch,update since=33
  /status Pod get,patch,update
podtemplates podtemplate PodTemplate Namespaced all
replicationcontrollers replicationcontroller ReplicationController Namespaced all short=rc in=all
  /scale autoscaling/v1/Scale get,patch,update
  /status ReplicationController get,patch,update
resourcequotas resourcequota ResourceQuota Namespaced all short=quota
  /status ResourceQuota get,patch,update
secrets secret Secret Namespaced all
serviceaccounts serviceaccount ServiceAccount Namespaced all short=sa
  /token authentication.k8s.io/v1/TokenRequest create
services service Service Namespaced all short=svc in=all
  /proxy ServiceProxyOptions create,delete,get,patch,update
  /status Service get,patch,update
[apiregistration.k8s.io/v1]
apiservices apiservice APIService Cluster all in=api-extensions
  /status APIService get,patch,update
[apps/v1]
controllerrevisions controllerrevision ControllerRevision Namespaced all
daemonsets daemonset DaemonSet Namespaced all short=ds in=all
  /status DaemonSet get,patch,update
deployments deployment Deployment Namespaced all short=deploy in=all
  /scale autoscaling/v1/Scale get,patch,update
  /status Deployment get,patch,update
replicasets replicaset ReplicaSet Namespaced all short=rs in=all
  /scale autoscaling/v1/Scale get,patch,update
  /status ReplicaSet get,patch,update
statefulsets statefulset StatefulSet Namespaced all short=sts in=all
  /scale autoscaling/v1/Scale get,patch,update
  /status StatefulSet get,patch,update
[events.k8s.io/v1]
events event Event Namespaced all short=ev
[authentication.k8s.io/v1]
selfsubjectreviews selfsubjectreview SelfSubjectReview Cluster create since=28
tokenreviews tokenreview TokenReview Cluster create
[authorization.k8s.io/v1]
localsubjectaccessreviews localsubjectaccessreview LocalSubjectAccessReview Namespaced create
selfsubjectaccessreviews selfsubjectaccessreview SelfSubjectAccessReview Cluster create
selfsubjectrulesreviews selfsubjectrulesreview SelfSubjectRulesReview Cluster create
subjectaccessreviews subjectaccessreview SubjectAccessReview Cluster create
[autoscaling/v2]
horizontalpodautoscalers horizontalpodautoscaler HorizontalPodAutoscaler Namespaced all short=hpa in=all
  /status HorizontalPodAutoscaler get,patch,update
[autoscaling/v1]
horizontalpodautoscalers horizontalpodautoscaler HorizontalPodAutoscaler Namespaced all short=hpa in=all
  /status HorizontalPodAutoscaler get,patch,update
[batch/v1]
cronjobs cronjob CronJob Namespaced all short=cj in=all
  /status CronJob get,patch,update
jobs job Job Namespaced all in=all
  /status Job get,patch,update
[certificates.k8s.io/v1]
certificatesigningrequests certificatesigningrequest CertificateSigningRequest Cluster all short=csr
  /approval CertificateSigningRequest get,patch,update
  /status CertificateSigningRequest get,patch,update
[networking.k8s.io/v1]
ingressclasses ingressclass IngressClass Cluster all
ingresses ingress Ingress Namespaced all short=ing
  /status Ingress get,patch,update
ipaddresses ipaddress IPAddress Cluster all short=ip since=33
networkpolicies networkpolicy NetworkPolicy Namespaced all short=netpol
servicecidrs servicecidr ServiceCIDR Cluster all since=33
  /status ServiceCIDR get,patch,update
[policy/v1]
poddisruptionbudgets poddisruptionbudget PodDisruptionBudget Namespaced all short=pdb
  /status PodDisruptionBudget get,patch,update
[rbac.authorization.k8s.io/v1]
clusterrolebindings clusterrolebinding ClusterRoleBinding Cluster all
clusterroles clusterrole ClusterRole Cluster all
rolebindings rolebinding RoleBinding Namespaced all
roles role Role Namespaced all
[storage.k8s.io/v1]
csidrivers csidriver CSIDriver Cluster all
csinodes csinode CSINode Cluster all
csistoragecapacities csistoragecapacity CSIStorageCapacity Namespaced all
storageclasses storageclass StorageClass Cluster all short=sc
volumeattachments volumeattachment VolumeAttachment Cluster all
  /status VolumeAttachment get,patch,update
volumeattributesclasses volumeattributesclass VolumeAttributesClass Cluster all short=vac since=34
[admissionregistration.k8s.io/v1]
mutatingadmissionpolicies mutatingadmissionpolicy MutatingAdmissionPolicy Cluster all in=api-extensions since=36
mutatingadmissionpolicybindings mutatingadmissionpolicybinding MutatingAdmissionPolicyBinding Cluster all in=api-extensions since=36
mutatingwebhookconfigurations mutatingwebhookconfiguration MutatingWebhookConfiguration Cluster all in=api-extensions
validatingadmissionpolicies validatingadmissionpolicy ValidatingAdmissionPolicy Cluster all in=api-extensions since=30
  /status ValidatingAdmissionPolicy get,patch,update
validatingadmissionpolicybindings validatingadmissionpolicybinding ValidatingAdmissionPolicyBinding Cluster all in=api-extensions since=30
validatingwebhookconfigurations validatingwebhookconfiguration ValidatingWebhookConfiguration Cluster all in=api-extensions
[apiextensions.k8s.io/v1]
customresourcedefinitions customresourcedefinition CustomResourceDefinition Cluster all short=crd,crds in=api-extensions
  /status CustomResourceDefinition get,patch,update
[scheduling.k8s.io/v1]
priorityclasses priorityclass PriorityClass Cluster all short=pc
[coordination.k8s.io/v1]
leases lease Lease Namespaced all
[node.k8s.io/v1]
runtimeclasses runtimeclass RuntimeClass Cluster all
[discovery.k8s.io/v1]
endpointslices endpointslice EndpointSlice Namespaced all
[resource.k8s.io/v1] since=34
deviceclasses deviceclass DeviceClass Cluster all
resourceclaims resourceclaim ResourceClaim Namespaced all
  /status ResourceClaim get,patch,update
resourceclaimtemplates resourceclaimtemplate ResourceClaimTemplate Namespaced all
resourceslices resourceslice ResourceSlice Cluster all
[flowcontrol.apiserver.k8s.io/v1] since=29
flowschemas flowschema FlowSchema Cluster all
  /status FlowSchema get,patch,update
prioritylevelconfigurations prioritylevelconfiguration PriorityLevelConfiguration Cluster all
  /status PriorityLevelConfiguration get,patch,update
[flowcontrol.apiserver.k8s.io/v1beta3] until=31
flowschemas flowschema FlowSchema Cluster all
  /status FlowSchema get,patch,update
prioritylevelconfigurations prioritylevelconfiguration PriorityLevelConfiguration Cluster all
  /status PriorityLevelConfiguration get,patch,update
[flowcontrol.apiserver.k8s.io/v1beta2] until=28
flowschemas flowschema FlowSchema Cluster all
  /status FlowSchema get,patch,update
prioritylevelconfigurations prioritylevelconfiguration PriorityLevelConfiguration Cluster all
  /status PriorityLevelConfiguration get,patch,update
`;

type Ranged<Entry> = Entry & { readonly since: number; readonly until: number };
type RangedResource = Ranged<Omit<ResourceDiscovery, 'subresources'>> & {
  readonly subresources: Ranged<SubresourceDiscovery>[];
};
type RangedVersion = Ranged<{ readonly group: string; readonly version: string }> & {
  readonly resources: RangedResource[];
};

/** The own discovery of a server of this version: the core group first, without custom resources. */
export function builtInGroups(version: SimulatedVersion): GroupDiscovery[] {
  const minor = Number(version.split('.')[1]);
  const groups = new Map<string, VersionDiscovery[]>();
  for (const { group, version: name, resources, ...range } of parseTable()) {
    if (!covers(range, minor)) continue;
    const served = resources.filter((row) => covers(row, minor)).map((row) => resourceOf(row, minor));
    groups.set(group, [...(groups.get(group) ?? []), { version: name, resources: served, freshness: 'Current' }]);
  }
  return [...groups].map(([name, versions]) => ({ name, versions }));
}

function covers({ since, until }: Ranged<object>, minor: number): boolean {
  return since <= minor && minor <= until;
}

function resourceOf({ since: _, until: __, subresources, ...resource }: RangedResource, minor: number) {
  const served = subresources
    .filter((row) => covers(row, minor))
    .map(({ since: ___, until: ____, ...subresource }): SubresourceDiscovery => subresource);
  return served.length > 0 ? { ...resource, subresources: served } : resource;
}

function parseTable(): RangedVersion[] {
  const versions: RangedVersion[] = [];
  for (const line of table.trim().split('\n')) {
    const words = line.trim().split(' ');
    const option = (name: string) => words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
    const range = { since: Number(option('since') ?? 0), until: Number(option('until') ?? Number.POSITIVE_INFINITY) };
    const [first = '', second = '', third = '', scope = '', verbs = ''] = words;
    if (first.startsWith('[')) {
      const [version = '', group = ''] = first.slice(1, -1).split('/').reverse();
      versions.push({ group, version, resources: [], ...range });
    } else if (first.startsWith('/'))
      versions
        .at(-1)
        ?.resources.at(-1)
        ?.subresources.push({
          subresource: first.slice(1),
          responseKind: kindOf(second),
          verbs: third.split(','),
          ...range,
        });
    else
      versions.at(-1)?.resources.push({
        resource: first,
        responseKind: kindOf(third),
        scope,
        singularResource: second,
        verbs: (verbs === 'all' ? allVerbs : verbs).split(','),
        ...list('shortNames', option('short')),
        ...list('categories', option('in')),
        subresources: [],
        ...range,
      });
  }
  return versions;
}

/** Group and version are empty if they equal those of the list, as kube-apiserver writes them. */
function kindOf(text: string): GroupVersionKind {
  const [kind = '', version = '', group = ''] = text.split('/').reverse();
  return { group, version, kind };
}

function list(name: 'shortNames' | 'categories', text: string | undefined) {
  return text === undefined ? {} : { [name]: text.split(',') };
}
