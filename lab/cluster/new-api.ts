import { generateKeyPairSync, sign } from 'node:crypto';

/** APIs that the servers of one minor serve, and those of the minor before do not. */
export interface NewApi {
  /** The path of a list that clients read. */
  readonly list: string;
  /** An object with a namespace. */
  readonly object: { readonly apiVersion: string; readonly kind: string; readonly [field: string]: unknown };
  /** The plural of its kind. */
  readonly resource: string;
  /** Flags of kube-apiserver that turn the APIs on, if they are not on by default. */
  readonly flags: readonly string[];
}

const metadata = { name: 'of-the-new-version' };
/** A Pod that does not exist. */
const uid = '00000000-0000-4000-8000-000000000000';

/**
 * No API is new twice. A version's own objects would be unreadable for the version before, if that serves the same
 * resource: it would fail to list them, and no namespace could be deleted.
 */
const newApis: Readonly<Record<string, () => NewApi>> = {
  '1.34': () => ({
    list: '/apis/resource.k8s.io/v1/deviceclasses',
    object: { apiVersion: 'resource.k8s.io/v1', kind: 'ResourceClaimTemplate', metadata, spec: { spec: {} } },
    resource: 'resourceclaimtemplates',
    flags: [],
  }),
  '1.35': () => ({
    list: '/apis/certificates.k8s.io/v1beta1/podcertificaterequests',
    object: {
      apiVersion: 'certificates.k8s.io/v1beta1',
      kind: 'PodCertificateRequest',
      metadata,
      spec: { ...proofOf(uid), ...certificateOf(uid) },
    },
    resource: 'podcertificaterequests',
    flags: ['--runtime-config=certificates.k8s.io/v1beta1=true', '--feature-gates=PodCertificateRequest=true'],
  }),
  '1.36': () => ({
    list: '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies',
    object: {
      apiVersion: 'scheduling.k8s.io/v1alpha2',
      kind: 'Workload',
      metadata,
      spec: { podGroupTemplates: [{ name: 'all', schedulingPolicy: { basic: {} } }] },
    },
    resource: 'workloads',
    flags: ['--runtime-config=scheduling.k8s.io/v1alpha2=true', '--feature-gates=GenericWorkload=true'],
  }),
  '1.37': () => ({
    list: '/apis/storagemigration.k8s.io/v1/storageversionmigrations',
    object: {
      apiVersion: 'lifecycle.k8s.io/v1alpha1',
      kind: 'EvictionRequest',
      metadata,
      spec: { target: { pod: { name: 'none', uid } }, requester: 'example.com/nobody', intent: 'Eviction' },
    },
    resource: 'evictionrequests',
    flags: ['--runtime-config=lifecycle.k8s.io/v1alpha1=true', '--feature-gates=EvictionRequestAPI=true'],
  }),
};

/** What is new in the minor of this version, such as `v1.36.3`. */
export function newApiOf(version: string): NewApi {
  const minor = /^v(\d+\.\d+)\./.exec(version)?.[1] ?? '';
  const found = newApis[minor];
  if (found === undefined) throw new Error(`no API is known to be new in ${version}`);
  return found();
}

function certificateOf(podUID: string) {
  const someone = { serviceAccountName: 'default', serviceAccountUID: uid, nodeName: 'm1', nodeUID: uid };
  return { signerName: 'example.com/none', podName: 'none', podUID, maxExpirationSeconds: 86_400, ...someone };
}

/** A key, and the proof that the Pod has it. */
function proofOf(podUID: string) {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return {
    pkixPublicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
    proofOfPossession: sign(null, Buffer.from(podUID), privateKey).toString('base64'),
  };
}
