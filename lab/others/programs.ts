import { ensureTool, type GoTool } from '../build/build-go-tool.ts';

type Log = (message: string) => void;

const certManager: GoTool = {
  name: 'others/cert-manager',
  commands: { 'cert-manager': '.' },
  takes: 'about 5 minutes',
};

/** Resolves to a folder with `cert-manager`: its controllers and its webhook in one program. */
export function ensureCertManager(log: Log): Promise<string> {
  return ensureTool(certManager, log);
}

/** Resolves to a folder with a `helm` of version 3. */
export function ensureHelm3(log: Log): Promise<string> {
  const commands = { helm: 'helm.sh/helm/v3/cmd/helm' };
  return ensureTool({ name: 'others/helm3', commands, takes: 'about 3 minutes' }, log);
}

const flux: GoTool = {
  name: 'others/flux',
  commands: {
    'source-controller': 'github.com/fluxcd/source-controller',
    'kustomize-controller': 'github.com/fluxcd/kustomize-controller',
    'helm-controller': 'github.com/fluxcd/helm-controller',
  },
  takes: 'about 10 minutes',
};

/** Resolves to a folder with Flux's `source-controller`, `kustomize-controller` and `helm-controller`. */
export function ensureFlux(log: Log): Promise<string> {
  return ensureTool(flux, log);
}

const prometheusOperator: GoTool = {
  name: 'others/prometheus-operator',
  commands: {
    operator: 'github.com/prometheus-operator/prometheus-operator/cmd/operator',
    alertmanager: 'github.com/prometheus/alertmanager/cmd/alertmanager',
  },
  takes: 'about 5 minutes',
};

/** Resolves to a folder with the Prometheus Operator's `operator`, and `alertmanager`. */
export function ensurePrometheusOperator(log: Log): Promise<string> {
  return ensureTool(prometheusOperator, log);
}

const argoCd: GoTool = {
  name: 'others/argocd',
  commands: { kustomize: 'sigs.k8s.io/kustomize/kustomize/v5', argocd: '.' },
  takes: 'about 10 minutes',
};

/** Resolves to a folder with `argocd`, its application controller and repo server, and the `kustomize` that it runs. */
export function ensureArgoCd(log: Log): Promise<string> {
  return ensureTool(argoCd, log);
}
