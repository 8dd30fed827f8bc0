{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "yolo.env" -}}
{{- $s := .Values.server }}
{{- $m := .Values.models }}
- {name: TRITON_EXIT_TIMEOUT_S, value: {{ .Values.drain.exitSeconds | quote }}}
{{- if eq $m.source "s3" }}
- {name: MODEL_REPOSITORY, value: {{ $m.s3.uri | quote }}}
{{- with $m.s3.region }}
- {name: AWS_DEFAULT_REGION, value: {{ . | quote }}}
{{- end }}
{{- range ternary (list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY") list (ne $m.s3.secretName "") }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $m.s3.secretName }}, key: {{ . }}}}
{{- end }}
{{- end }}
{{- with .Values.configName }}
- {name: CONFIG_NAME, value: {{ . | quote }}}
{{- end }}
{{- with $s.cudaPoolBytes }}
- {name: TRITON_CUDA_POOL_BYTES, value: {{ . | int64 | quote }}}
{{- end }}
{{- with $s.options }}
- {name: TRITON_OPTIONS, value: {{ join " " . | quote }}}
{{- end }}
{{- with $s.restricted }}
- {name: TRITON_RESTRICTED, value: {{ . | quote }}}
{{- end }}
{{- with $s.adminKey }}{{ if .secretName }}
- name: TRITON_ADMIN_KEY
  valueFrom: {secretKeyRef: {name: {{ .secretName }}, key: {{ .secretKey }}}}
{{- end }}{{ end }}
{{- with $s.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Triton says that it is ready only if every model is, python processes included (Triton 26.04 and newer). Nothing in
Triton starts a dead python process again, so a server that stays unready is started anew. */}}
{{- define "yolo.probes" -}}
{{- $ready := "{path: /v2/health/ready, port: http}" }}
startupProbe:
  httpGet: {{ $ready }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ divf .Values.server.startupSeconds 5 | ceil | int }}
readinessProbe:
  httpGet: {{ $ready }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: {{ $ready }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- define "yolo.resources" -}}
{{- $memory := printf "%dMi" (add .Values.resources.memoryMiB .Values.server.shmMiB) }}
requests:
  cpu: {{ .Values.resources.cpu | quote }}
  memory: {{ $memory }}
limits:
  memory: {{ $memory }}
  {{- if eq .Values.profile "gpu" }}
  {{ .Values.gpu.resource }}: {{ .Values.gpu.count }}
  {{- end }}
{{- end }}
