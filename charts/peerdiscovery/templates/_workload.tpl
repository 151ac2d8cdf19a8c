{{- /* Lays values over a Deployment or DaemonSet, in place; renders nothing. */ -}}
{{- define "peerdiscovery.workload" -}}
{{- $values := .root.Values -}}
{{- $component := index .object.metadata.labels "app.kubernetes.io/component" -}}
{{- $own := ternary $values.operator $values.proxy (eq $component "operator") -}}
{{- $spec := .object.spec -}}
{{- $pod := $spec.template.spec -}}
{{- $container := first $pod.containers -}}
{{- $tag := $values.image.tag | default .root.Chart.AppVersion -}}
{{- $_ := set $container "image" (printf "%s:%s" $values.image.repository $tag) -}}
{{- with $values.image.pullPolicy }}{{ $_ = set $container "imagePullPolicy" . }}{{ end -}}
{{- with $values.imagePullSecrets }}{{ $_ = set $pod "imagePullSecrets" . }}{{ end -}}
{{- $_ = set $container "resources" $own.resources -}}
{{- if and (ne $component "operator") (ne $values.proxy.routingTable "peerdiscovery-cluster") -}}
{{- $_ = set $container "args" (append $container.args (printf "--routing-table=%s" $values.proxy.routingTable)) -}}
{{- end -}}
{{- $_ = set $container "args" (concat $container.args $own.extraArgs) -}}
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
