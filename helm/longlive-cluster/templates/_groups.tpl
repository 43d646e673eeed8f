{{- /* Pools and their groups of pods. */}}

{{- define "longlive.overlay" -}}
{{- /* (list base over): `over` on `base`, one level of maps deep. Unlike mergeOverwrite, 0, false and "" count. */ -}}
{{- $result := deepCopy (index . 0) }}
{{- range $key, $value := index . 1 }}
  {{- if and (eq $key "replicas") (kindIs "map" $value) }}
    {{- $inner := get $result $key }}
    {{- range $name, $number := $value }}{{ $_ := set $inner $name $number }}{{ end }}
  {{- else }}
    {{- $_ := set $result $key $value }}
  {{- end }}
{{- end }}
{{- toJson $result }}
{{- end }}

{{- define "longlive.groups" -}}
{{- /* {"groups": [...]}: the pools' own and then the appended ones, each with all keys of poolDefaults and its `pool`. */ -}}
{{- $root := . }}
{{- $groups := list }}
{{- $pools := dict }}
{{- range .Values.pools }}
  {{- $group := include "longlive.overlay" (list $root.Values.poolDefaults .) | fromJson }}
  {{- $_ := set $group "pool" .name }}
  {{- $_ := set $pools .name $group }}
  {{- $groups = append $groups $group }}
{{- end }}
{{- range .Values.extraWorkerGroups }}
  {{- $base := get $pools .pool | default $root.Values.poolDefaults }}
  {{- $groups = append $groups (include "longlive.overlay" (list $base .) | fromJson) }}
{{- end }}
{{- dict "groups" $groups | toJson }}
{{- end }}

{{- define "longlive.maxWorkers" -}}
{{- /* (dict "pool" a pool "groups" all groups): the pool's own number, or what all its pods hold. */ -}}
{{- $pool := .pool }}
{{- $workers := 0 }}
{{- range .groups }}
  {{- if eq .pool $pool.name }}
    {{- $workers = add $workers (mul (int .replicas.max) (int .workersPerPod)) }}
  {{- end }}
{{- end }}
{{- if kindIs "invalid" $pool.maxWorkers }}{{ max 1 $workers }}{{ else }}{{ int $pool.maxWorkers }}{{ end }}
{{- end }}

{{- define "longlive.poolResource" -}}
{{- /* What a pool's pods offer to Ray, and its workers ask for. */ -}}
pool-{{ . }}
{{- end }}

{{- define "longlive.onePerNode" -}}
{{- /* (dict "root" $ "group" a group): "true" or nothing. */ -}}
{{- if kindIs "bool" .group.onePerNode }}{{ if .group.onePerNode }}true{{ end }}{{ else if .root.Values.network.host }}true{{ end }}
{{- end }}

{{- define "longlive.controlProcesses" -}}
{{- /* Processes of a control pod that count anything: a gateway, and on one of the pods the allocator. */ -}}
2
{{- end }}

{{- define "longlive.metricsPorts" -}}
{{- /* From 9400 on, as many as the fullest pod needs. */ -}}
{{- $most := int (include "longlive.controlProcesses" .) }}
{{- range (include "longlive.groups" . | fromJson).groups }}{{ $most = max $most (int .workersPerPod) }}{{ end }}
{{- $most }}
{{- end }}
