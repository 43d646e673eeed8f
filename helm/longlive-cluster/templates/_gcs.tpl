{{- define "longlive.gcs" -}}
{{- /* Where Ray keeps its tables. No namespace of ours: KubeRay takes each Ray cluster's own id. */ -}}
{{- $redis := .Values.redis }}
{{- $name := include "longlive.name" . }}
{{- if ne $redis.gcs.mode "none" }}
gcsFaultToleranceOptions:
  {{- $password := ternary $redis.gcs $redis.password (eq $redis.gcs.mode "external") }}
  {{- if eq $redis.gcs.mode "external" }}
  redisAddress: {{ $redis.gcs.address }}
  {{- else }}
  redisAddress: {{ ternary (printf "%s-redis-gcs" $name) (printf "%s-redis" $name) (eq $redis.gcs.mode "bundled") }}:6379
  {{- end }}
  {{- with $password.existingSecret }}
  redisPassword:
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: {{ $password.key }}
  {{- end }}
{{- end }}
{{- end }}
