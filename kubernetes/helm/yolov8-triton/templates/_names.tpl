{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "yolo.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "yolo.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "yolo.labels" -}}
{{ include "yolo.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "yolo.metadata" -}}
name: {{ include "yolo.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "yolo.labels" . | nindent 2 }}
{{- end }}

{{- define "yolo.headless" -}}
{{ include "yolo.name" . }}-headless
{{- end }}

{{- define "yolo.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "yolo.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "yolo.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Values.profile }}
{{- end }}
