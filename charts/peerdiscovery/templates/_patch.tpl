{{- /* Carries the operations of a JSON patch out on an object, in place; renders nothing. It knows `add` alone. */ -}}
{{- define "peerdiscovery.patch" -}}
{{- range $operation := .operations -}}
{{- $path := rest (splitList "/" $operation.path) -}}
{{- $key := last $path -}}
{{- $parents := initial $path -}}
{{- /* A list cannot be appended to in place: what holds it gets a new one. */ -}}
{{- if eq $key "-" }}{{ $key = last $parents }}{{ $parents = initial $parents }}{{ end -}}
{{- $node := $.object -}}
{{- range $parents }}{{ if kindIs "slice" $node }}{{ $node = index $node (int .) }}{{ else }}{{ $node = index $node . }}{{ end }}{{ end -}}
{{- $value := $operation.value -}}
{{- if hasSuffix "/-" $operation.path }}{{ $value = append (index $node $key) $value }}{{ end -}}
{{- $_ := set $node $key $value -}}
{{- end -}}
{{- end -}}
