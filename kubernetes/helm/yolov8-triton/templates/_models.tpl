{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* Where the models come from. "store" is true if an init container writes them into a volume of their own. */}}
{{- define "yolo.store" -}}
{{- $m := .Values.models }}
{{- if or (eq $m.source "export") (and (eq $m.source "image") .Values.plans.build) }}true{{ end }}
{{- end }}

{{- define "yolo.modelVolumes" -}}
{{- $m := .Values.models }}
{{- if eq $m.source "pvc" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ $m.pvc.claimName }}
{{- else if eq $m.source "image" }}
- name: {{ ternary "source" "models" (eq (include "yolo.store" .) "true") }}
  image:
    reference: {{ $m.image.reference }}
    pullPolicy: IfNotPresent
{{- else if eq $m.source "export" }}
- name: weights
  {{- toYaml $m.export.weightsVolume | nindent 2 }}
{{- end }}
{{- if include "yolo.store" . }}
- name: models
  {{- if $m.store.claimName }}
  persistentVolumeClaim:
    claimName: {{ $m.store.claimName }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- end }}

{{- define "yolo.modelMount" -}}
{{- $m := .Values.models }}
{{- if ne $m.source "s3" -}}
- name: models
  mountPath: /models
  {{- if and (eq $m.source "pvc") $m.pvc.subPath }}
  subPath: {{ $m.pvc.subPath }}
  {{- else if and (eq $m.source "image") $m.image.subPath (not (include "yolo.store" .)) }}
  subPath: {{ $m.image.subPath }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Pods that share a volume take turns, and what one has done is done for all. */}}
{{- define "yolo.initContainers" -}}
{{- $m := .Values.models }}
{{- if eq $m.source "export" }}
{{- $done := printf "/models/.exported-%s" (toJson $m.export | sha256sum | trunc 16) }}
- name: export
  image: {{ $m.export.image }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  workingDir: /tmp
  command: [flock, /models/.lock, sh, -ec]
  args:
    - 'test -e {{ $done }} || { python3 -m yolov8_export export "$@" && : > {{ $done }}; }'
    - sh
    - /weights/{{ $m.export.weights }}
    - --repository=/models
    - --profile={{ .Values.profile }}
    {{- range $m.export.options }}
    - {{ . | quote }}
    {{- end }}
  env:
    - {name: HOME, value: /tmp}
  resources: {requests: {cpu: "1", memory: {{ $m.export.memoryMiB }}Mi}, limits: {memory: {{ $m.export.memoryMiB }}Mi}}
  securityContext: {{- include "yolo.confined" . | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: weights, mountPath: /weights, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- else if include "yolo.store" . }}
{{- $done := printf "/models/.copied-%s" (toJson $m.image | sha256sum | trunc 16) }}
- name: copy
  image: {{ include "yolo.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [flock, /models/.lock, sh, -ec]
  args: ['test -e {{ $done }} || { cp -R /source/. /models/ && : > {{ $done }}; }']
  resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 1Gi}}
  securityContext: {{- include "yolo.confined" . | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /models}
    - name: source
      mountPath: /source
      {{- with $m.image.subPath }}
      subPath: {{ . }}
      {{- end }}
{{- end }}
{{- if .Values.plans.build }}
- name: plans
  image: {{ include "yolo.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [{{ include "yolo.ofGpu" . }}flock, /models/.lock, python3, /opt/yolov8-triton/build_plans.py, /models]
  {{- with .Values.configName }}
  env:
    - {name: CONFIG_NAME, value: {{ . | quote }}}
  {{- end }}
  resources:
    requests: {cpu: "1", memory: {{ .Values.plans.memoryMiB }}Mi}
    limits: {memory: {{ .Values.plans.memoryMiB }}Mi, {{ .Values.gpu.resource }}: {{ .Values.gpu.count }}}
  securityContext: {{- include "yolo.confined" . | nindent 4 }}
  volumeMounts:
    {{- include "yolo.modelMount" . | nindent 4 }}
    - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end }}

{{/* A pod can't read its node's labels, so a program asks the GPU for its name. */}}
{{- define "yolo.ofGpu" -}}
{{- if .Values.gpu.configByProduct }}/opt/yolov8-triton/of_gpu.sh, {{ end }}
{{- end }}

{{- define "yolo.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
