{{- /* The settings tree of cluster/settings, without secrets. */}}

{{- define "longlive.settings" -}}
{{- $root := . }}
{{- $tree := deepCopy (omit .Values.settings "turn" "storage") }}
{{- $groups := (include "longlive.groups" . | fromJson).groups }}
{{- $pools := list }}
{{- range $group := $groups }}
  {{- if eq $group.name $group.pool }}
    {{- $workers := include "longlive.maxWorkers" (dict "pool" $group "groups" $groups) }}
    {{- $pool := dict "model" $group.model "preset" $group.preset "num_gpus" $group.gpus "min_warm" $group.minWarm }}
    {{- $_ := set $pool "idle_s" $group.idleSeconds }}
    {{- $_ := set $pool "max_workers" (int $workers) }}
    {{- $_ := set $pool "sessions_per_worker" $group.sessionsPerWorker }}
    {{- $_ := set $pool "max_load" $group.maxLoad }}
    {{- $_ := set $pool "resources" (dict (include "longlive.poolResource" $group.pool) 1) }}
    {{- with $group.options }}{{ $_ := set $pool "options" . }}{{ end }}
    {{- if not (kindIs "invalid" $group.maxQueue) }}{{ $_ := set $pool "max_queue" $group.maxQueue }}{{ end }}
    {{- $pools = append $pools $pool }}
  {{- end }}
{{- end }}
{{- $_ := set $tree "pools" $pools }}
{{- with include "longlive.turnUris" . }}
  {{- $turn := deepCopy ($root.Values.settings.turn | default dict) }}
  {{- $_ := set $tree "turn" (set $turn "uris" (. | fromJsonArray)) }}
{{- end }}
{{- $storage := dict }}
{{- if eq .Values.storage.kind "claim" }}
  {{- $_ := set $storage "folder" "/storage" }}
{{- else if eq .Values.storage.kind "s3" }}
  {{- range $name, $value := pick .Values.storage.s3 "bucket" "prefix" "endpoint" "region" }}
    {{- with $value }}{{ $_ := set $storage (printf "s3_%s" $name) . }}{{ end }}
  {{- end }}
{{- end }}
{{- with $storage }}{{ $_ := set $tree "storage" . }}{{ end }}
{{- $media := deepCopy (.Values.settings.media | default dict) }}
{{- with .Values.media.ports }}{{ $_ := set $media "ports" . }}{{ end }}
{{- with .Values.media.publicAddress }}{{ $_ := set $media "public_address" (join "," .) }}{{ end }}
{{- with $media }}{{ $_ := set $tree "media" . }}{{ end }}
{{- with .Values.moderation.denyList.configMap }}
  {{- $moderation := deepCopy ($root.Values.settings.moderation | default dict) }}
  {{- $_ := set $tree "moderation" (set $moderation "deny_list" (include "longlive.denyList" $root)) }}
{{- end }}
{{- toJson $tree }}
{{- end }}

{{- define "longlive.denyList" -}}
/etc/longlive/moderation/{{ .Values.moderation.denyList.key }}
{{- end }}

{{- define "longlive.turnUris" -}}
{{- /* A JSON list, or nothing where there are no relays. */ -}}
{{- with .Values.turn }}
  {{- if eq .mode "none" }}
  {{- else if .uris }}{{ toJson .uris }}
  {{- else }}
    {{- $port := int .coturn.port }}
    {{- $uris := list (printf "turn:%s:%d?transport=udp" .coturn.host $port) (printf "turn:%s:%d?transport=tcp" .coturn.host $port) }}
    {{- if .coturn.tlsSecret }}
      {{- $uris = append $uris (printf "turns:%s:%d?transport=tcp" .coturn.host (int .coturn.tlsPort)) }}
    {{- end }}
    {{- toJson $uris }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "longlive.variables" -}}
{{- /* The same tree as LLC_ variables: what the command line in a pod reads. */ -}}
{{- range $name, $value := include "longlive.settings" . | fromJson }}
  {{- if kindIs "map" $value }}
    {{- range $field, $inner := $value }}
{{ printf "LLC_%s__%s" $name $field | upper }}: {{ kindIs "string" $inner | ternary $inner (toJson $inner) | quote }}
    {{- end }}
  {{- else }}
{{ printf "LLC_%s" $name | upper }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "longlive.secretVariable" -}}
{{- /* (dict "name" "LLC_…" "from" {existingSecret, key}) */ -}}
{{- with .from.existingSecret }}
- name: {{ $.name }}
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.from.key }}
{{- end }}
{{- end }}

{{- define "longlive.redisVariables" -}}
{{- if eq .Values.redis.mode "external" }}
{{- include "longlive.secretVariable" (dict "name" "LLC_REDIS_URL" "from" .Values.redis.external) }}
{{- else if .Values.redis.password.existingSecret }}
{{- include "longlive.secretVariable" (dict "name" "STORE_PASSWORD" "from" .Values.redis.password) }}
- name: LLC_REDIS_URL
  value: redis://:$(STORE_PASSWORD)@{{ include "longlive.name" . }}-redis:6379/0
{{- else }}
- name: LLC_REDIS_URL
  value: redis://{{ include "longlive.name" . }}-redis:6379/0
{{- end }}
{{- end }}

{{- define "longlive.env" -}}
{{- /* Of every Ray container alike: Serve builds the gateway on any node, and `drain` runs in the workers' pods. */ -}}
- name: RAY_worker_niceness
  value: "0"
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
- name: RAY_ENABLE_UV_RUN_RUNTIME_ENV
  value: "0"
- name: HOME
  value: /home/longlive
{{- include "longlive.redisVariables" . }}
{{- include "longlive.secretVariable" (dict "name" "LLC_API_KEYS" "from" .Values.auth.apiKeys) }}
{{- include "longlive.secretVariable" (dict "name" "LLC_JWT_SECRET" "from" .Values.auth.jwtSecret) }}
{{- include "longlive.secretVariable" (dict "name" "LLC_AUTH__SIGNING_KEY" "from" .Values.auth.signingKey) }}
{{- include "longlive.secretVariable" (dict "name" "LLC_AUTH__RETIRED_SECRETS" "from" .Values.auth.retiredSecrets) }}
{{- include "longlive.secretVariable" (dict "name" "LLC_MODERATION__WEBHOOK_SECRET" "from" .Values.moderation.webhookSecret) }}
{{- if ne .Values.turn.mode "none" }}
{{- include "longlive.secretVariable" (dict "name" "LLC_TURN__SECRET" "from" .Values.turn) }}
{{- end }}
{{- if eq .Values.storage.kind "s3" }}
{{- $keys := .Values.storage.s3.existingSecret }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
{{- include "longlive.secretVariable" (dict "name" . "from" (dict "existingSecret" $keys "key" .)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "longlive.serveConfig" -}}
{{- /* What KubeRay hands to Serve: serve_config.yaml with this release's settings. Port 8080 is Ray's metrics here. */ -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
logging_config:
  encoding: JSON
  enable_access_log: false
applications:
  - name: gateway
    route_prefix: /
    import_path: gateway.deployment:build
    args:
      {{- range $name, $value := include "longlive.settings" . | fromJson }}
      {{ $name }}: {{ toJson $value }}
      {{- end }}
    deployments:
      - name: gateway
        num_replicas: {{ int .Values.gateway.replicas }}
        max_replicas_per_node: 1
{{- end }}
