# SPDX-License-Identifier: Apache-2.0
"""Sets of values of the chart: those that must render, and those that must be refused."""

from __future__ import annotations

CPU = """
image: {repository: registry.example/yolov8-triton}
models: {pvc: {claimName: models}}
"""
GPU = """
profile: gpu
image: {repository: registry.example/yolov8-triton}
models: {pvc: {claimName: models, subPath: fleet}}
plans: {build: true}
configName: l4
gpu: {product: NVIDIA-L4}
server: {shmMiB: 704, cudaPoolBytes: 268435456, options: ["--pinned-memory-pool-byte-size=402653184"]}
rollout: {maxSurge: 0, maxUnavailable: 1}
"""
MONITORED = "monitoring: {enabled: true, labels: {release: prometheus}}\n"
HPA = f"{CPU}{MONITORED}autoscaling: {{kind: hpa, model: yolov8n}}\n"
KEDA = (
    f"{GPU}{MONITORED}autoscaling: {{kind: keda, model: yolov8n, networkInstances: 2, prometheus: 'http://p:9090'}}\n"
)
IMAGE = "image: {repository: registry.example/yolov8-triton}\n"
EXPORT = """
  source: export
  export:
    image: registry.example/yolov8-triton:export
    weightsVolume: {persistentVolumeClaim: {claimName: weights}}
    weights: yolov8n.pt
    options: ["--imgsz", "320"]
"""

RENDERED = {
    "cpu": CPU,
    "gpu-with-plans-kept-beside-the-models": GPU,
    "hpa": HPA,
    "keda": KEDA,
    "gpu-of-a-pool": GPU + "pod: {nodeSelector: {pool: vision}}\nserviceAccount: {create: false}\n",
    "s3-with-keys": f"{IMAGE}models: {{source: s3, s3: {{uri: 's3://m/fleet', region: eu-west-1, secretName: s3}}}}\n",
    "s3-with-a-role": f"{IMAGE}models: {{source: s3, s3: {{uri: 's3://minio:9000/models/fleet'}}}}\n"
    "serviceAccount: {annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/models'}}\n",
    "models-in-an-image": f"{IMAGE}models: {{source: image, image: {{reference: 'registry.example/models:7'}}}}\n",
    "models-in-a-folder-of-an-image": f"{IMAGE}models: {{source: image, image: {{reference: 'm:7', subPath: a}}}}\n",
    "plans-for-models-in-an-image": f"profile: gpu\n{IMAGE}plans: {{build: true}}\n"
    "models: {source: image, image: {reference: 'm:7', subPath: fleet}, store: {claimName: store}}\n",
    "export": f"{IMAGE}models:{EXPORT}",
    "export-with-plans": f"profile: gpu\n{IMAGE}plans: {{build: true}}\nmodels:{EXPORT}  store: {{claimName: store}}\n",
    "gateway": f"{CPU}gateway: {{enabled: true, parentRefs: [{{name: edge, namespace: gateways}}], "
    "hostnames: [yolo.example], envoy: {enabled: true}, canary: {service: next-yolov8-triton, percent: 10}}\n",
    "mig-slice": f"profile: gpu\n{IMAGE}models: {{pvc: {{claimName: models}}}}\n"
    "gpu: {resource: nvidia.com/mig-1g.10gb, runtimeClassName: nvidia}\n",
    "several-kinds-of-gpu": f"profile: gpu\n{IMAGE}models: {{pvc: {{claimName: models}}}}\n"
    "plans: {build: true}\ngpu: {configByProduct: true}\n",
    "all-of-the-pod": CPU
    + """
replicas: 1
service: {http: false, annotations: {team: vision}}
networkPolicy:
  clients: [{namespaceSelector: {matchLabels: {team: apps}}}]
  metrics: [{podSelector: {matchLabels: {app: prometheus}}}]
  egress: [{ports: [{port: 4318, protocol: TCP}]}]
server:
  adminKey: {secretName: admin}
  restricted: model-repository,trace
  env: [{name: OMP_NUM_THREADS, value: "1"}]
pod:
  labels: {team: vision}
  annotations: {note: "1"}
  nodeSelector: {kubernetes.io/arch: amd64}
  tolerations: [{key: vision, operator: Exists}]
  affinity: {podAntiAffinity: {}}
  priorityClassName: high
""",
    "no-network-policy": f"{CPU}networkPolicy: {{enabled: false}}\n",
}

REFUSED = {
    "unknown-key": (f"{CPU}imagee: {{}}\n", "imagee"),
    "unknown-key-below": (f"{CPU}server: {{shm: 1g}}\n", "shm"),
    "unknown-key-two-below": (f"{CPU}gateway: {{envoy: {{retry: 1}}}}\n", "retry"),
    "wrong-type": (f"{CPU}replicas: two\n", "replicas"),
    "negative": (f"{CPU}server: {{shmMiB: -1}}\n", "shmMiB"),
    "no-drain": (f"{CPU}drain: {{preStopSeconds: 0}}\n", "preStopSeconds"),
    "unknown-source": (f"{IMAGE}models: {{source: nfs}}\n", "source"),
    "unknown-profile": (f"{CPU}profile: tpu\n", "profile"),
    "not-a-bucket": (f"{IMAGE}models: {{source: s3, s3: {{uri: 'https://models'}}}}\n", "uri"),
    "option-without-dashes": (f"{CPU}server: {{options: [log-verbose=1]}}\n", "options"),
    "root": (f"{CPU}pod: {{userId: 0}}\n", "userId"),
    "no-image": ("models: {pvc: {claimName: m}}\n", "image.repository is missing"),
    "no-claim": (IMAGE, "models.pvc.claimName is missing"),
    "no-weights": (f"{IMAGE}models: {{source: export, export: {{image: e}}}}\n", "models.export.weights is missing"),
    "plans-on-a-cpu": (f"{CPU}plans: {{build: true}}\n", "plans.build is true: only profile gpu"),
    "plans-in-a-bucket": (
        f"profile: gpu\n{IMAGE}plans: {{build: true}}\nmodels: {{source: s3, s3: {{uri: 's3://a/b'}}}}\n",
        "plans can't be written into a bucket",
    ),
    "configuration-of-an-export": (f"{IMAGE}configName: l4\nmodels:{EXPORT}", "writes no custom model configurations"),
    "two-names-of-a-configuration": (GPU.replace("gpu: {", "gpu: {configByProduct: true, "), "leave configName empty"),
    "name-of-a-gpu-on-a-cpu": (
        f"{CPU}gpu: {{configByProduct: true}}\n",
        "gpu.configByProduct is true: only profile gpu",
    ),
    "name-of-a-gpu-for-an-export": (
        f"profile: gpu\n{IMAGE}gpu: {{configByProduct: true}}\nmodels:{EXPORT}",
        "gpu.configByProduct is true: models.source export",
    ),
    "no-way-to-update": (f"{CPU}rollout: {{maxSurge: 0}}\n", "rollout.maxSurge and rollout.maxUnavailable"),
    "gateway-without-a-gateway": (f"{CPU}gateway: {{enabled: true}}\n", "gateway.parentRefs is missing"),
    "canary-without-a-service": (
        f"{CPU}gateway: {{enabled: true, parentRefs: [{{name: edge}}], canary: {{percent: 5}}}}\n",
        "gateway.canary.service is missing",
    ),
    "scaling-without-a-model": (f"{CPU}{MONITORED}autoscaling: {{kind: hpa}}\n", "autoscaling.model is missing"),
    "scaling-without-rules": (f"{CPU}autoscaling: {{kind: hpa, model: m}}\n", "monitoring.enabled is false"),
    "keda-without-prometheus": (
        f"{CPU}{MONITORED}autoscaling: {{kind: keda, model: m}}\n",
        "autoscaling.prometheus is missing",
    ),
    "fewer-than-the-fewest": (
        f"{CPU}{MONITORED}autoscaling: {{kind: hpa, model: m, minReplicas: 9}}\n",
        "minReplicas is larger",
    ),
}
"""The values, and a part of the message that names the key."""
