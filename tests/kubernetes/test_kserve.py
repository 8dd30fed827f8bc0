# SPDX-License-Identifier: Apache-2.0
"""KServe's manifests, read by KServe's own models, and its client's requests, read by this project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kserve
import kubernetes.client
import numpy as np
import pytest
import yaml
from kserve import InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as kserve_pb

from tests.kubernetes.conftest import ROOT
from yolov8_contract.parameters import ParameterPolicy, RequestParameters
from yolov8_contract.task import Task

KSERVE = ROOT / "kubernetes" / "kserve"
MODELS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


ALL = [
    pytest.param(document, id=f"{path.stem}-{document['metadata']['name']}")
    for path in sorted(KSERVE.glob("*.yaml"))
    for document in documents(path)
]
SERVICES = [param for param in ALL if param.values[0]["kind"] == "InferenceService"]


def read(value: Any, kind: str) -> Any:
    """Make the object of KServe's or Kubernetes' models that a value stands for; unknown fields are errors."""
    if kind.startswith("list["):
        return [read(one, kind[5:-1]) for one in value]
    if kind.startswith("dict("):
        return {name: read(one, kind[5:-1].split(", ", 1)[1]) for name, one in value.items()}
    # The models name two of Kubernetes' types in another way than its client does.
    kind = re.sub(r"^K8sIoApi(Apps|Autoscaling)", "", kind)
    model = getattr(kserve, kind, None) or getattr(kubernetes.client, kind, None)
    if model is None:  # a number, a text or a quantity
        return value
    fields = {json_name: name for name, json_name in model.attribute_map.items()}
    assert value.keys() <= fields.keys(), f"{kind} has no {sorted(value.keys() - fields.keys())}"
    known = {fields[name]: read(one, model.openapi_types[fields[name]]) for name, one in value.items()}
    return model(**known)


@pytest.mark.parametrize("document", ALL)
def test_kserves_models_know_every_field(document: dict[str, Any]) -> None:
    made = read(document, MODELS[document["kind"]])

    assert made.kind == document["kind"]
    assert made.metadata.name == document["metadata"]["name"]


@pytest.mark.parametrize("document", SERVICES)
def test_a_service_names_a_runtime_of_ours_and_a_protocol_that_it_has(document: dict[str, Any]) -> None:
    runtimes = {one["metadata"]["name"]: one["spec"] for one in documents(KSERVE / "serving-runtime.yaml")}
    spec = document["spec"]

    for predictor in (spec["predictor"], *(canary["predictor"] for canary in spec.get("canary", ()))):
        model = predictor["model"]
        assert model["protocolVersion"] in runtimes[model["runtime"]]["protocolVersions"]
        formats = [
            {"name": one["name"], "version": one["version"]}
            for one in runtimes[model["runtime"]]["supportedModelFormats"]
        ]
        assert model["modelFormat"] in formats
        (container,) = runtimes[model["runtime"]]["containers"]
        # preStop, the exit timeout and the time to free the models.
        assert (
            predictor["terminationGracePeriodSeconds"]
            >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + 30 + 30
        )


@pytest.mark.parametrize("document", documents(KSERVE / "serving-runtime.yaml"), ids=("cpu", "gpu"))
def test_a_runtime_serves_where_kserve_looks_for_it(document: dict[str, Any]) -> None:
    (container,) = document["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    read_by_server = (ROOT / "docker" / "serve.sh").read_text()

    assert container["name"] == "kserve-container"
    assert container["args"] == [f"--http-port={ports['http1']}", f"--grpc-port={ports['h2c']}"]
    assert ports == {"http1": 8080, "h2c": 9000}
    assert {"name": "MODEL_REPOSITORY", "value": "/mnt/models"} in container["env"]
    assert all(variable["name"] in read_by_server for variable in container["env"])
    assert {volume["name"] for volume in document["spec"]["volumes"]} == {
        mount["name"] for mount in container["volumeMounts"]
    }
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}


def test_scaling_asks_for_the_rules_of_the_chart() -> None:
    recorded = {
        rule["record"]
        for group in yaml.safe_load((ROOT / "kubernetes/helm/yolov8-triton/files/scaling.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    (service,) = documents(KSERVE / "cpu-pvc.yaml")
    queries = [one["external"]["metric"]["query"] for one in service["spec"]["predictor"]["autoScaling"]["metrics"]]

    assert {record for record in recorded if any(record in query for query in queries)} == recorded


READ_AS_TRITON_DOES = """
import json, sys
from tritonclient.grpc import service_pb2
sent = service_pb2.ModelInferRequest.FromString(sys.stdin.buffer.read())
print(json.dumps({name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in sent.parameters.items()}))
"""
"""In a process of its own: both packages define the same messages."""


def test_a_request_of_kserves_client_says_what_ours_says() -> None:
    """Its messages have no field for a fraction, so fractions come as texts."""
    parameters = {"conf": "0.4", "iou": "0.5", "max_det": 7, "agnostic": True, "classes": "0,2"}
    image = InferInput("image", [1, 3], "UINT8")
    image.set_data_from_numpy(np.array([[1, 2, 3]], np.uint8))
    message = InferRequest(model_name="yolov8n", infer_inputs=[image], parameters=parameters).to_grpc()

    program = [sys.executable, "-c", READ_AS_TRITON_DOES]
    done = subprocess.run(program, input=message.SerializeToString(), capture_output=True, check=True)

    read_by_server = json.loads(done.stdout)
    policy = ParameterPolicy(task=Task.DETECT, num_classes=80)
    assert "double_param" not in kserve_pb.InferParameter.DESCRIPTOR.fields_by_name
    assert read_by_server == parameters
    assert policy.parse(read_by_server) == RequestParameters(
        conf=0.4, iou=0.5, max_det=7, agnostic=True, classes=(0, 2)
    )
