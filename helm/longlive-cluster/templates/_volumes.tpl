{{- /* Volumes of the Ray cluster's pods, and where their containers see them. */}}

{{- define "longlive.rayVolume" -}}
{{- /* (dict "name" "" "volume" {kind, claim, path, size}) */ -}}
- name: {{ .name }}
  {{- if eq .volume.kind "claim" }}
  persistentVolumeClaim:
    claimName: {{ .volume.claim }}
  {{- else if eq .volume.kind "hostPath" }}
  hostPath:
    path: {{ .volume.path }}
    type: Directory
  {{- else }}
  emptyDir:
    sizeLimit: {{ .volume.size }}
  {{- end }}
{{- end }}

{{- define "longlive.rayVolumes" -}}
{{- $values := .root.Values -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ $values.tmpSize }}
- name: home
  emptyDir:
    sizeLimit: 1Gi
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ $values.shmSize }}
{{- if eq $values.storage.kind "claim" }}
{{ include "longlive.rayVolume" (dict "name" "storage" "volume" $values.storage) }}
{{- end }}
{{- with $values.moderation.denyList.configMap }}
- name: moderation
  configMap:
    name: {{ . }}
{{- end }}
{{- if eq .component "worker" }}
{{ include "longlive.rayVolume" (dict "name" "kernels" "volume" $values.kernelCache) }}
{{- if ne $values.weights.volume.kind "none" }}
{{ include "longlive.rayVolume" (dict "name" "weights" "volume" $values.weights.volume) }}
{{- end }}
{{- if $values.weights.downloads }}
- name: weights-plan
  configMap:
    name: {{ include "longlive.name" .root }}-weights
{{- end }}
{{- end }}
{{- end }}

{{- define "longlive.rayMounts" -}}
{{- $values := .root.Values -}}
- name: tmp
  mountPath: /tmp
- name: home
  mountPath: /home/longlive
- name: shm
  mountPath: /dev/shm
{{- if eq $values.storage.kind "claim" }}
- name: storage
  mountPath: /storage
{{- end }}
{{- if $values.moderation.denyList.configMap }}
- name: moderation
  mountPath: {{ dir (include "longlive.denyList" .root) }}
  readOnly: true
{{- end }}
{{- if eq .component "worker" }}
- name: kernels
  mountPath: /var/cache/longlive
{{- if ne $values.weights.volume.kind "none" }}
- name: weights
  mountPath: {{ $values.weights.mountPath }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}
