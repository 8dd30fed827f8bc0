{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* What the schema can't express: values that need or exclude each other. */}}
{{- define "yolo.checks" -}}
{{- $v := .Values }}
{{- if not $v.image.repository }}
  {{- fail "image.repository is missing: nothing is published, so build docker/Dockerfile (--target cpu or gpu), push the image, and set its name" }}
{{- end }}
{{- range $source, $keys := dict "pvc" (list "claimName") "s3" (list "uri") "image" (list "reference") "export" (list "image" "weights" "weightsVolume") }}
  {{- if eq $source $v.models.source }}
    {{- range $key := $keys }}
      {{- if not (index $v.models $source $key) }}
        {{- fail (printf "models.%s.%s is missing: models.source is %s" $source $key $source) }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if $v.plans.build }}
  {{- if ne $v.profile "gpu" }}{{ fail "plans.build is true: only profile gpu has plans, and profile is cpu" }}{{ end }}
  {{- if eq $v.models.source "s3" }}
    {{- fail "plans.build is true: plans can't be written into a bucket; build them with docker/build_plans.py before you upload the models, or use models.source pvc, image or export" }}
  {{- end }}
{{- end }}
{{- if and $v.configName (eq $v.models.source "export") }}
  {{- fail "configName is set: models.source export writes no custom model configurations; export and add-config beforehand, and use models.source pvc, image or s3" }}
{{- end }}
{{- if $v.gpu.configByProduct }}
  {{- if $v.configName }}
    {{- fail "gpu.configByProduct is true: the GPU's name chooses the custom model configuration; leave configName empty" }}
  {{- end }}
  {{- if ne $v.profile "gpu" }}{{ fail "gpu.configByProduct is true: only profile gpu has a GPU, and profile is cpu" }}{{ end }}
  {{- if eq $v.models.source "export" }}
    {{- fail "gpu.configByProduct is true: models.source export writes no custom model configurations; export and add-config beforehand, and use models.source pvc, image or s3" }}
  {{- end }}
{{- end }}
{{- if and (not $v.rollout.maxSurge) (not $v.rollout.maxUnavailable) }}
  {{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0: no pod could ever be replaced; set one of them" }}
{{- end }}
{{- if and $v.gateway.enabled (not $v.gateway.parentRefs) }}
  {{- fail "gateway.parentRefs is missing: name your Gateway, such as [{name: edge}]" }}
{{- end }}
{{- if and $v.gateway.canary.percent (not $v.gateway.canary.service) }}
  {{- fail "gateway.canary.service is missing: gateway.canary.percent sends requests to it" }}
{{- end }}
{{- with $v.autoscaling }}{{ if ne .kind "none" }}
  {{- if not .model }}{{ fail "autoscaling.model is missing: name the served model whose load decides" }}{{ end }}
  {{- if gt (int .minReplicas) (int .maxReplicas) }}{{ fail "autoscaling.minReplicas is larger than autoscaling.maxReplicas" }}{{ end }}
  {{- if not $v.monitoring.enabled }}{{ fail "monitoring.enabled is false: autoscaling reads its rules; set it to true" }}{{ end }}
  {{- if and (eq .kind "keda") (not .prometheus) }}{{ fail "autoscaling.prometheus is missing: KEDA asks this address, such as http://prometheus.monitoring:9090" }}{{ end }}
{{- end }}{{ end }}
{{- end }}
