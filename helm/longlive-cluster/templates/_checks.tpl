{{- /* Values that contradict each other: one sentence each, all of them at once. */}}

{{- define "longlive.checks" -}}
{{- $root := . }}
{{- $wrong := list }}
{{- with .Values }}
  {{- if gt (len (include "longlive.name" $root)) 47 }}
    {{- $wrong = append $wrong (printf "the name %s is longer than the 47 characters that KubeRay allows: set fullnameOverride" (include "longlive.name" $root)) }}
  {{- end }}
  {{- $wrong = concat $wrong (include "longlive.checkPools" $root | fromJsonArray) }}
  {{- $wrong = concat $wrong (include "longlive.checkMedia" $root | fromJsonArray) }}
  {{- $wrong = concat $wrong (include "longlive.checkTurn" $root | fromJsonArray) }}
  {{- $wrong = concat $wrong (include "longlive.checkStores" $root | fromJsonArray) }}
  {{- if and .network.host .networkPolicy.enabled (not .networkPolicy.nodeCidrs) }}
    {{- $wrong = append $wrong "network.host puts workers on their nodes' addresses, which no policy selects: set networkPolicy.nodeCidrs, or they cannot reach Redis" }}
  {{- end }}
  {{- if and .gateway.ingress.enabled (not .gateway.ingress.hosts) }}
    {{- $wrong = append $wrong "gateway.ingress is enabled and has no hosts" }}
  {{- end }}
  {{- if and .gateway.httpRoute.enabled (not .gateway.httpRoute.parentRefs) }}
    {{- $wrong = append $wrong "gateway.httpRoute is enabled and belongs to no Gateway: set its parentRefs" }}
  {{- end }}
  {{- if and (dig "moderation" "webhook_url" "" .settings) (not .moderation.webhookSecret.existingSecret) }}
    {{- $wrong = append $wrong "settings.moderation.webhook_url is set without moderation.webhookSecret.existingSecret: the service must know who asks" }}
  {{- end }}
  {{- if .loadTest.enabled }}
    {{- if not .loadTest.apiKey.existingSecret }}
      {{- $wrong = append $wrong "loadTest is enabled without loadTest.apiKey.existingSecret, which has the API key that its clients show" }}
    {{- end }}
    {{- $models := list }}
    {{- range .pools }}{{ $models = append $models .model }}{{ end }}
    {{- if not (has "longlive-v2" $models) }}
      {{- $wrong = append $wrong "loadTest is enabled and no pool has the model longlive-v2, which it plays" }}
    {{- end }}
  {{- end }}
  {{- range .extraEnv }}
    {{- if hasPrefix "LLC_" .name }}
      {{- $wrong = append $wrong (printf "extraEnv: %s belongs under settings, where its name is checked; an unknown one stops start-up" .name) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- with $wrong }}
  {{- fail (printf "\n\nThese values contradict each other:\n- %s\n" (join "\n- " .)) }}
{{- end }}
{{- end }}

{{- define "longlive.checkPools" -}}
{{- $root := . }}
{{- $wrong := list }}
{{- $names := list }}
{{- $models := list }}
{{- $groups := (include "longlive.groups" . | fromJson).groups }}
{{- $owners := list }}
{{- range .Values.pools }}{{ $owners = append $owners .name }}{{ end }}
{{- range .Values.extraWorkerGroups }}
  {{- if not (has .pool $owners) }}
    {{- $wrong = append $wrong (printf "extraWorkerGroups: %s belongs to the pool %s, which is not there" .name .pool) }}
  {{- end }}
{{- end }}
{{- range $group := $groups }}
  {{- $who := printf "pool %s" .name }}
  {{- if has .name (append $names "control") }}
    {{- $wrong = append $wrong (printf "%s: the name is taken" $who) }}
  {{- end }}
  {{- $names = append $names .name }}
  {{- if eq .name .pool }}
    {{- if has .model $models }}
      {{- $wrong = append $wrong (printf "%s: the model %s has a pool already; more pods of it go to extraWorkerGroups" $who .model) }}
    {{- end }}
    {{- $models = append $models .model }}
    {{- $workers := int (include "longlive.maxWorkers" (dict "pool" . "groups" $groups)) }}
    {{- if gt (int .minWarm) $workers }}
      {{- $wrong = append $wrong (printf "%s: %d workers are to be kept warm, and there are at most %d" $who (int .minWarm) $workers) }}
    {{- end }}
  {{- end }}
  {{- $isSmall := or (eq .preset "tiny") (eq .model "echo") }}
  {{- if and (not $isSmall) (eq (int .gpus) 0) }}
    {{- $wrong = append $wrong (printf "%s: the preset %s needs a GPU, and gpus is 0" $who .preset) }}
  {{- end }}
  {{- if and (not $isSmall) (not .options.weights) }}
    {{- $wrong = append $wrong (printf "%s: the preset %s needs options.weights, a folder below %s" $who .preset $root.Values.weights.mountPath) }}
  {{- end }}
  {{- if and (hasPrefix $root.Values.weights.mountPath (.options.weights | default "")) (eq $root.Values.weights.volume.kind "none") }}
    {{- $wrong = append $wrong (printf "%s: its weights are in %s, and weights.volume.kind is none" $who .options.weights) }}
  {{- end }}
  {{- if gt (int .replicas.min) (int .replicas.max) }}
    {{- $wrong = append $wrong (printf "%s: replicas.min is %d and replicas.max %d" $who (int .replicas.min) (int .replicas.max)) }}
  {{- end }}
  {{- if and (ne (int .replicas.min) (int .replicas.max)) (not $root.Values.ray.autoscaling.enabled) }}
    {{- $wrong = append $wrong (printf "%s: replicas.min and replicas.max differ, and nobody scales: set ray.autoscaling.enabled, or both alike" $who) }}
  {{- end }}
  {{- if and $root.Values.network.host (kindIs "bool" .onePerNode) (not .onePerNode) }}
    {{- $wrong = append $wrong (printf "%s: onePerNode is false, but with network.host the pods of a node have one range of ports, and Ray's and the metrics' collide: one pod per node, with workersPerPod for more GPUs" $who) }}
  {{- end }}
  {{- range .extraEnv }}
    {{- if hasPrefix "LLC_" .name }}
      {{- $wrong = append $wrong (printf "%s: extraEnv: %s belongs under settings" $who .name) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "longlive.checkMedia" -}}
{{- $wrong := list }}
{{- $pods := 0 }}
{{- $sessions := 1 }}
{{- range (include "longlive.groups" . | fromJson).groups }}
  {{- $pods = add $pods (int .replicas.max) }}
  {{- $sessions = max $sessions (int .sessionsPerWorker) }}
{{- end }}
{{- with .Values.media.ports }}
  {{- $first := splitList "-" . | first | int }}
  {{- $last := splitList "-" . | last | int }}
  {{- $connections := dig "limits" "max_connections" 64 $.Values.settings | int }}
  {{- if gt $first $last }}
    {{- $wrong = append $wrong (printf "media.ports: the first port, %d, is beyond the last one, %d" $first $last) }}
  {{- else if or (lt $first 1024) (gt $last 65535) }}
    {{- $wrong = append $wrong (printf "media.ports: %s is not within 1024-65535" .) }}
  {{- else if lt (sub (add1 $last) $first) (mul $sessions $connections) }}
    {{- $wrong = append $wrong (printf "media.ports: %s has fewer ports than one worker may have connections: %d sessions of settings.limits.max_connections, %d" . $sessions $connections) }}
  {{- end }}
{{- end }}
{{- range .Values.media.publicAddress }}
  {{- if not $.Values.network.host }}
    {{- $wrong = append $wrong (printf "media.publicAddress: %s is a node's, and workers have addresses of their pods: set network.host" .) }}
  {{- else if and (not (contains "/" .)) (gt $pods 1) }}
    {{- $wrong = append $wrong (printf "media.publicAddress: %s would be every node's, and there may be %d: give each node's as PUBLIC/LOCAL" . $pods) }}
  {{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "longlive.checkTurn" -}}
{{- $wrong := list }}
{{- with .Values.turn }}
  {{- if and (ne .mode "none") (not .existingSecret) }}
    {{- $wrong = append $wrong (printf "turn.mode is %s without turn.existingSecret: browsers take no relay without credentials" .mode) }}
  {{- end }}
  {{- if and (eq .mode "external") (not .uris) }}
    {{- $wrong = append $wrong "turn.mode is external and turn.uris is empty" }}
  {{- end }}
  {{- if eq .mode "none" }}
    {{- if .uris }}{{ $wrong = append $wrong "turn.uris are set and turn.mode is none" }}{{ end }}
  {{- end }}
  {{- if eq .mode "coturn" }}
    {{- if not (or .uris .coturn.host) }}
      {{- $wrong = append $wrong "turn.mode is coturn and clients have no name for it: set turn.coturn.host" }}
    {{- end }}
    {{- if not .coturn.allowedPeers }}
      {{- $wrong = append $wrong "turn.coturn.allowedPeers is empty: coturn would relay to nobody; it takes the range of the pods' addresses" }}
    {{- end }}
    {{- if gt (int .coturn.minPort) (int .coturn.maxPort) }}
      {{- $wrong = append $wrong (printf "turn.coturn.minPort %d is beyond maxPort %d" (int .coturn.minPort) (int .coturn.maxPort)) }}
    {{- end }}
    {{- if and .coturn.service.enabled (not .coturn.tlsSecret) }}
      {{- $wrong = append $wrong "turn.coturn.service takes TLS on port 443, and turn.coturn.tlsSecret is empty" }}
    {{- end }}
    {{- if and .coturn.service.enabled (not .uris) }}
      {{- $wrong = append $wrong "turn.coturn.service has an address of its own: name it among turn.uris, such as turns:turn.example.org:443?transport=tcp" }}
    {{- end }}
  {{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "longlive.checkStores" -}}
{{- $wrong := list }}
{{- $values := .Values }}
{{- with .Values.redis }}
  {{- if and (eq .mode "external") (not .external.existingSecret) }}
    {{- $wrong = append $wrong "redis.mode is external without redis.external.existingSecret, which has the URL" }}
  {{- end }}
  {{- if and (eq .mode "external") (eq .gcs.mode "same") }}
    {{- $wrong = append $wrong "redis.gcs.mode is same, but Ray takes host and port, not the URL of redis.external: set redis.gcs.mode to bundled, none, or external with its address" }}
  {{- end }}
  {{- if and (eq .gcs.mode "external") (not .gcs.address) }}
    {{- $wrong = append $wrong "redis.gcs.mode is external and redis.gcs.address is empty" }}
  {{- end }}
  {{- $bundled := or (eq .mode "bundled") (eq .gcs.mode "bundled") }}
  {{- if and $bundled (not .password.existingSecret) (not $values.networkPolicy.enabled) }}
    {{- $wrong = append $wrong "the bundled Redis would be open to every pod: set redis.password.existingSecret or networkPolicy.enabled" }}
  {{- end }}
{{- end }}
{{- with .Values.weights }}
  {{- if and .downloads (eq .volume.kind "none") }}
    {{- $wrong = append $wrong "weights.downloads has no place to go: set weights.volume.kind" }}
  {{- end }}
{{- end }}
{{- range $name, $volume := dict "weights.volume" .Values.weights.volume "kernelCache" .Values.kernelCache "storage" .Values.storage }}
  {{- if and (eq $volume.kind "claim") (not $volume.claim) }}
    {{- $wrong = append $wrong (printf "%s.kind is claim and %s.claim is empty" $name $name) }}
  {{- end }}
  {{- if and (eq $volume.kind "hostPath") (not $volume.path) }}
    {{- $wrong = append $wrong (printf "%s.kind is hostPath and %s.path is empty" $name $name) }}
  {{- end }}
{{- end }}
{{- if and (eq .Values.storage.kind "s3") (not .Values.storage.s3.bucket) }}
  {{- $wrong = append $wrong "storage.kind is s3 and storage.s3.bucket is empty" }}
{{- end }}
{{- $keep := dig "recording" "keep" "off" .Values.settings }}
{{- if and (ne $keep "off") (eq .Values.storage.kind "none") }}
  {{- $wrong = append $wrong (printf "settings.recording.keep is %s, and storage.kind is none: recordings would have no place" $keep) }}
{{- end }}
{{- toJson $wrong }}
{{- end }}
