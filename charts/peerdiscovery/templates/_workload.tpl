{{- /* Lays values over a Deployment or DaemonSet, in place; renders nothing. */ -}}
{{- define "peerdiscovery.workload" -}}
{{- $values := .root.Values -}}
{{- $component := index .object.metadata.labels "app.kubernetes.io/component" -}}
{{- $own := ternary $values.operator $values.proxy (eq $component "operator") -}}
{{- $spec := .object.spec -}}
{{- $pod := $spec.template.spec -}}
{{- $container := first $pod.containers -}}
{{- $_ := set $container "image" (include "peerdiscovery.image" .root) -}}
{{- with $values.image.pullPolicy }}{{ $_ = set $container "imagePullPolicy" . }}{{ end -}}
{{- with $values.imagePullSecrets }}{{ $_ = set $pod "imagePullSecrets" . }}{{ end -}}
{{- $_ = set $container "resources" $own.resources -}}
{{- if and (ne $component "operator") (ne $values.proxy.routingTable "peerdiscovery-cluster") -}}
{{- $_ = set $container "args" (append $container.args (printf "--routing-table=%s" $values.proxy.routingTable)) -}}
{{- end -}}
{{- $_ = set $container "args" (concat $container.args $own.extraArgs) -}}
{{- with $own.extraEnv }}{{ $_ = set $container "env" (concat ($container.env | default list) .) }}{{ end -}}
{{- with $own.nodeSelector }}{{ $_ = set $pod "nodeSelector" (merge (dict) . ($pod.nodeSelector | default dict)) }}{{ end -}}
{{- with $own.tolerations }}{{ $_ = set $pod "tolerations" . }}{{ end -}}
{{- with $own.affinity }}{{ $_ = set $pod "affinity" . }}{{ end -}}
{{- with $own.priorityClassName }}{{ $_ = set $pod "priorityClassName" . }}{{ end -}}
{{- $metadata := $spec.template.metadata -}}
{{- /* What selects the Pods stays as it is. */ -}}
{{- with $own.podLabels }}{{ $_ = set $metadata "labels" (merge (dict) $metadata.labels .) }}{{ end -}}
{{- with $own.podAnnotations }}{{ $_ = set $metadata "annotations" (merge (dict) . ($metadata.annotations | default dict)) }}{{ end -}}
{{- if eq .object.kind "Deployment" }}{{ $_ = set $spec "replicas" $own.replicas }}{{ end -}}
{{- if and $values.highAvailability (eq .object.kind "Deployment") -}}
{{- $keys := list "pod-template-hash" -}}
{{- $node := first $pod.topologySpreadConstraints -}}
{{- $_ = set $node "whenUnsatisfiable" "DoNotSchedule" -}}
{{- $_ = set $node "matchLabelKeys" $keys -}}
{{- $zone := dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway" -}}
{{- $_ = set $zone "matchLabelKeys" $keys -}}
{{- $_ = set $zone "labelSelector" (dict "matchLabels" (dict "app.kubernetes.io/name" "peerdiscovery")) -}}
{{- $_ = set $pod "topologySpreadConstraints" (list $node $zone) -}}
{{- end -}}
{{- end -}}

{{- /* The image by its digest if there is one, in `image.digest` or in `image.repository` itself, else by its tag. */ -}}
{{- define "peerdiscovery.image" -}}
{{- $image := .Values.image -}}
{{- if contains "@" $image.repository -}}
{{- if or $image.tag $image.digest }}{{ fail "image.repository has a digest: leave image.tag and image.digest empty" }}{{ end -}}
{{- $image.repository -}}
{{- else if regexMatch ":[^/]*$" $image.repository -}}
{{- fail (printf "image.repository is %s: put what follows the last colon into image.tag" $image.repository) -}}
{{- else if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* Lays values over the Service of the proxies, in place; renders nothing. */ -}}
{{- define "peerdiscovery.service" -}}
{{- with .root.Values.proxy.service.type }}{{ $_ := set $.object.spec "type" . }}{{ end -}}
{{- with .root.Values.proxy.service.annotations }}{{ $_ := set $.object.metadata "annotations" . }}{{ end -}}
{{- end -}}

{{- /* Lays the addresses of the control-plane nodes over their proxies' Certificate, in place; renders nothing. */ -}}
{{- define "peerdiscovery.frontCertificate" -}}
{{- $names := list -}}
{{- $addresses := list -}}
{{- range .root.Values.certificates.controlPlaneAddresses -}}
{{- if or (contains ":" .) (regexMatch "^[0-9.]+$" .) }}{{ $addresses = append $addresses . }}{{ else }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- $_ := unset .object.spec "dnsNames" -}}
{{- with $names }}{{ $_ = set $.object.spec "dnsNames" . }}{{ end -}}
{{- with $addresses }}{{ $_ = set $.object.spec "ipAddresses" . }}{{ end -}}
{{- end -}}
