{{- /* Pods of the Ray cluster. Their labels have no version: a changed template is a new Ray cluster to KubeRay. */}}

{{- define "longlive.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "longlive.podSecurity" -}}
{{- /* (dict "user" 1) */ -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "longlive.rayMetadata" -}}
{{- /* (dict "root" $ "component" "head|control|worker" "group" nil or a group) */ -}}
labels:
  {{- include "longlive.selector" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  {{- with .group }}
  longlive-cluster/pool: {{ .pool }}
  {{- end }}
annotations:
  cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
  karpenter.sh/do-not-disrupt: "true"
  sidecar.istio.io/inject: "false"
  {{- with .group }}
  {{- with .podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "longlive.rayPorts" -}}
{{- /* The dashboard, GCS and the client port are the head's; metrics are Ray's own, app-metrics this software's: each process
takes the first that is free. */ -}}
{{- if eq .component "head" -}}
- name: gcs
  containerPort: 6379
- name: dashboard
  containerPort: 8265
- name: client
  containerPort: 10001
{{ end }}
{{- if ne .component "worker" -}}
- name: serve
  containerPort: 8000
{{ end -}}
- name: metrics
  containerPort: 8080
{{- if ne .component "head" }}
- name: app-metrics
  containerPort: 9400
{{- $processes := include "longlive.controlProcesses" . }}
{{- if eq .component "worker" }}{{ $processes = .group.workersPerPod }}{{ end }}
{{- range $number := untilStep 1 (int $processes) 1 }}
- name: app-metrics-{{ $number }}
  containerPort: {{ add 9400 $number }}
{{- end }}
{{- end }}
{{- end }}

{{- define "longlive.rayProbes" -}}
{{- /* Ray's agent answers for the raylet, and on the head for GCS. KubeRay's own readiness asks every worker for a Serve
proxy, which only control pods have. */ -}}
startupProbe:
  httpGet:
    path: /api/healthz
    port: 52365
  periodSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /api/healthz
    port: 52365
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 120
readinessProbe:
  httpGet:
    {{- if eq .component "control" }}
    path: /-/healthz
    port: serve
    {{- else }}
    path: /api/healthz
    port: 52365
    {{- end }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- define "longlive.rayContainer" -}}
{{- $values := .root.Values -}}
name: ray
image: {{ include "longlive.image" (dict "root" .root "tag" (.group | default dict).imageTag) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext:
  {{- include "longlive.containerSecurity" . | nindent 2 }}
env:
  {{- include "longlive.env" .root | nindent 2 }}
  {{- if eq .component "worker" }}
  - name: TORCHINDUCTOR_CACHE_DIR
    value: /var/cache/longlive/inductor
  - name: TRITON_CACHE_DIR
    value: /var/cache/longlive/triton
  {{- end }}
  {{- if ne .component "worker" }}
  {{- with $values.gateway.trustedProxies }}
  - name: FORWARDED_ALLOW_IPS
    value: {{ . | quote }}
  {{- end }}
  {{- end }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .group }}
  {{- with .extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
envFrom:
  - configMapRef:
      name: {{ include "longlive.name" .root }}-settings
ports:
  {{- include "longlive.rayPorts" . | nindent 2 }}
{{- include "longlive.rayProbes" . | nindent 0 }}
resources:
  {{- toYaml .resources | nindent 2 }}
volumeMounts:
  {{- include "longlive.rayMounts" . | nindent 2 }}
{{- if eq .component "worker" }}
lifecycle:
  preStop:
    exec:
      command: [longlive-cluster, drain, --here, --deadline, {{ int $values.settings.limits.max_session_s | toString | quote }}]
{{- else if eq .component "control" }}
lifecycle:
  preStop:
    exec: {{- /* until no Service sends requests here any more, and polls that are held have been answered */}}
      command: [sleep, "20"]
{{- end }}
{{- end }}

{{- define "longlive.rayPod" -}}
{{- /* (dict "root" $ "component" "head|control|worker" "group" nil or a group "place" values "resources" {}) */ -}}
metadata:
  {{- include "longlive.rayMetadata" . | nindent 2 }}
spec:
  {{- if ne .component "head" }}
  serviceAccountName: {{ include "longlive.serviceAccount" .root }}
  {{- end }}
  automountServiceAccountToken: {{ and (eq .component "head") .root.Values.ray.autoscaling.enabled }}
  enableServiceLinks: false {{- /* its variables would begin with the services' names, and LLC_ ones are settings */}}
  {{- with include "longlive.pullSecrets" .root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext:
    {{- include "longlive.podSecurity" (dict "user" (int .root.Values.runAsUser)) | nindent 4 }}
  {{- if eq .component "worker" }}
  terminationGracePeriodSeconds: {{ add (int .root.Values.settings.limits.max_session_s) 60 }}
  {{- if .root.Values.network.host }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- with .group.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- else }}
  terminationGracePeriodSeconds: 60
  {{- end }}
  {{- with include "longlive.placement" .place | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "longlive.rayAffinity" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if and (eq .component "worker") .root.Values.weights.downloads }}
  initContainers:
    - {{- include "longlive.weightsContainer" . | nindent 6 }}
  {{- end }}
  containers:
    - {{- include "longlive.rayContainer" . | nindent 6 }}
  volumes:
    {{- include "longlive.rayVolumes" . | nindent 4 }}
{{- end }}

{{- define "longlive.rayAffinity" -}}
{{- if eq .component "control" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "longlive.selector" .root | nindent 8 }}
        app.kubernetes.io/component: control
{{- else if eq .component "worker" }}
{{- $affinity := deepCopy .group.affinity }}
{{- if include "longlive.onePerNode" . }}
  {{- $labels := include "longlive.selector" .root | fromYaml }}
  {{- $_ := set $labels "app.kubernetes.io/component" "worker" }}
  {{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $labels) }}
  {{- $anti := deepCopy ($affinity.podAntiAffinity | default dict) }}
  {{- $key := "requiredDuringSchedulingIgnoredDuringExecution" }}
  {{- $_ := set $anti $key (append (get $anti $key | default list) $term) }}
  {{- $_ := set $affinity "podAntiAffinity" $anti }}
{{- end }}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "longlive.weightsContainer" -}}
{{- $weights := .root.Values.weights -}}
name: weights
image: {{ include "longlive.image" (dict "root" .root "tag" .group.imageTag) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [sh, /plan/fetch_weights.sh, /plan, {{ $weights.mountPath }}]
securityContext:
  {{- include "longlive.containerSecurity" . | nindent 2 }}
env:
  - name: HOME
    value: /home/longlive
  {{- with $weights.endpoint }}
  - name: HF_ENDPOINT
    value: {{ . }}
  {{- end }}
  {{- with include "longlive.secretVariable" (dict "name" "HF_TOKEN" "from" $weights.token) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
resources:
  requests: {cpu: 500m, memory: 2Gi}
  limits: {memory: 4Gi}
volumeMounts:
  - name: weights
    mountPath: {{ $weights.mountPath }}
  - name: weights-plan
    mountPath: /plan
    readOnly: true
  - name: tmp
    mountPath: /tmp
  - name: home
    mountPath: /home/longlive
{{- end }}
