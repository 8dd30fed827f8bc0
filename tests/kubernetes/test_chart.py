# SPDX-License-Identifier: Apache-2.0
"""The Helm chart: what it renders is valid, what it can't render is refused with the key's name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.cases import CPU, GPU, HPA, KEDA, REFUSED, RENDERED
from tests.kubernetes.conftest import (
    CHART,
    HELMS,
    ROOT,
    VERSIONS,
    check_against_kubernetes,
    helm,
    one,
    rendered,
    resources,
)

GOLDEN = Path(__file__).with_name("golden")
CONFINED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize("case", ["cpu", "gpu-with-plans-kept-beside-the-models", "hpa"])
def test_helm_finds_nothing_to_complain_about(case: str, version: str) -> None:
    done = helm(version, "lint", "--strict", CHART, values=RENDERED[case])

    assert done.returncode == 0, done.stdout
    assert "WARN" not in done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", RENDERED)
def test_each_resource_is_valid_in_each_version_of_kubernetes(case: str, version: str) -> None:
    found = resources(RENDERED[case])

    assert {"Deployment", "Service", "PodDisruptionBudget"} <= {resource["kind"] for resource in found}
    for resource in found:
        check_against_kubernetes(resource, version)


@pytest.mark.parametrize("case", RENDERED)
def test_helm_3_renders_what_helm_4_renders(case: str) -> None:
    def ordered(name: str) -> list[str]:
        return sorted(yaml.safe_dump(resource) for resource in resources(RENDERED[case], name))

    assert ordered("helm3") == ordered("helm4")


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize("case", REFUSED)
def test_wrong_values_are_refused_with_the_name_of_the_key(case: str, version: str) -> None:
    values, reason = REFUSED[case]

    done = helm(version, "template", "yolo", CHART, values=values)

    assert done.returncode
    assert reason in done.stderr


@pytest.mark.parametrize("case", RENDERED)
def test_the_parts_of_a_release_fit_each_other(case: str) -> None:
    found = resources(RENDERED[case])
    (pod,) = (resource["spec"]["template"] for resource in found if resource["kind"] == "Deployment")
    selectors = [resource["spec"]["selector"] for resource in found if resource["kind"] == "Service"]
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}

    for selector in selectors:
        assert selector.items() <= pod["metadata"]["labels"].items()
    for service in (resource for resource in found if resource["kind"] == "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["spec"]["volumes"]}
        assert container["securityContext"] == CONFINED
        assert container["resources"]["limits"]["memory"]
    assert len({(kind(resource), resource["metadata"]["name"]) for resource in found}) == len(found)


def kind(resource: dict[str, Any]) -> str:
    return f"{resource['apiVersion']} {resource['kind']}"


@pytest.mark.parametrize(
    ("case", "folder"),
    [
        pytest.param("cpu", "models", id="pvc"),
        pytest.param("models-in-an-image", "models", id="image"),
        pytest.param("plans-for-models-in-an-image", "models", id="store"),
        pytest.param("s3-with-keys", None, id="s3"),
    ],
)
def test_the_server_reads_its_models_only(case: str, folder: str | None) -> None:
    (server,) = one(RENDERED[case], "Deployment")["spec"]["template"]["spec"]["containers"]
    mounts = [mount for mount in server["volumeMounts"] if mount["mountPath"] == "/models"]

    assert [mount["name"] for mount in mounts] == ([folder] if folder else [])
    assert all(mount["readOnly"] for mount in mounts)


def test_a_pod_has_the_memory_of_its_shared_memory_besides_its_own() -> None:
    pod = one(GPU, "Deployment")["spec"]["template"]["spec"]
    (shm,) = (volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "shm")

    assert shm == {"medium": "Memory", "sizeLimit": "704Mi"}
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "3776Mi", "nvidia.com/gpu": 1}


def test_a_pod_has_time_to_leave_and_to_finish() -> None:
    pod = one(CPU + "drain: {preStopSeconds: 20, exitSeconds: 40}\n", "Deployment")["spec"]["template"]["spec"]
    (server,) = pod["containers"]

    assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": 20}}}
    assert {"name": "TRITON_EXIT_TIMEOUT_S", "value": "40"} in server["env"]
    assert pod["terminationGracePeriodSeconds"] > 60


def test_the_server_is_asked_what_the_image_asks_it() -> None:
    (server,) = one(CPU, "Deployment")["spec"]["template"]["spec"]["containers"]
    port = {port["name"]: port["containerPort"] for port in server["ports"]}["http"]
    probes = [server[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]

    assert probes == [{"path": "/v2/health/ready", "port": "http"}] * 3
    assert f"http://127.0.0.1:{port}/v2/health/ready" in (ROOT / "docker" / "Dockerfile").read_text()


def test_every_variable_is_one_that_the_server_reads() -> None:
    read = (ROOT / "docker" / "serve.sh").read_text()
    values = (GPU, RENDERED["all-of-the-pod"], RENDERED["s3-with-a-role"])
    given = {
        variable["name"]
        for text in values
        for variable in one(text, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    }

    assert given >= {"CONFIG_NAME", "TRITON_OPTIONS", "TRITON_CUDA_POOL_BYTES", "MODEL_REPOSITORY", "TRITON_RESTRICTED"}
    assert {name for name in given if name not in read} == {"OMP_NUM_THREADS"}


def test_the_route_forwards_what_the_proxy_of_the_composition_forwards() -> None:
    (rule,) = one(RENDERED["gateway"], "GRPCRoute")["spec"]["rules"]
    methods = {match["method"].get("method") for match in rule["matches"]} - {None}
    listed = re.search(r"GRPCInferenceService/\(([\w|]+)\)\$", (ROOT / "docker" / "nginx" / "nginx.conf").read_text())

    assert listed is not None
    # Decoupled models need a stream; this project has none.
    assert methods == {*listed[1].split("|")} - {"ModelStreamInfer"}
    assert len(rule["matches"]) <= 8  # the limit of the Gateway API
    assert [(ref["name"], ref["weight"]) for ref in rule["backendRefs"]] == [
        ("yolo-yolov8-triton", 90),
        ("next-yolov8-triton", 10),
    ]


@pytest.mark.parametrize(("values", "found_in"), [(HPA, "HorizontalPodAutoscaler"), (KEDA, "ScaledObject")])
def test_scaling_reads_rules_that_the_chart_records(values: str, found_in: str) -> None:
    scaling = one(values, found_in)["spec"]
    recorded = {
        rule["record"]
        for group in one(values, "PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    (adapter,) = yaml.safe_load((ROOT / "kubernetes" / "prometheus-adapter.yaml").read_text())["rules"]["external"]
    if found_in == "ScaledObject":
        asked = {re.search(r"\((yolov8:[\w:]+)\{", one["metadata"]["query"])[1] for one in scaling["triggers"]}  # type: ignore[index]
    else:
        names = {one["external"]["metric"]["name"] for one in scaling["metrics"]}
        recorded = {
            re.sub(adapter["name"]["matches"], adapter["name"]["as"].replace("$1", r"\1"), name) for name in recorded
        }
        asked = names

    assert len(asked) == 2
    assert asked <= recorded
    assert "replicas" not in one(values, "Deployment")["spec"]


def test_scaling_has_the_targets_that_the_values_say() -> None:
    scaling = one(HPA, "HorizontalPodAutoscaler")["spec"]
    metrics = {metric["external"]["metric"]["name"]: metric["external"] for metric in scaling["metrics"]}

    assert metrics["yolov8_scaling_queue_seconds"]["target"] == {"type": "Value", "value": "100m"}
    assert metrics["yolov8_scaling_busy_instances"]["target"] == {"type": "Value", "value": "1800m"}
    assert metrics["yolov8_scaling_queue_seconds"]["metric"]["selector"]["matchLabels"] == {
        "served": "yolov8n",
        "service": "yolo-yolov8-triton-headless",
    }


@pytest.mark.parametrize(("name", "values"), [("cpu", HPA), ("gpu", GPU)])
def test_a_rendering_is_the_one_that_was_reviewed(name: str, values: str) -> None:
    """Set GOLDEN=write to accept a change; the diff is then reviewed as code is."""
    place = GOLDEN / f"{name}.yaml"
    found = "---\n".join(
        yaml.safe_dump(resource, sort_keys=False, width=120)
        for resource in resources(values)
        if kind(resource) != "v1 ConfigMap" and resource["kind"] != "PrometheusRule"  # they have files of their own
    )
    if os.environ.get("GOLDEN") == "write":
        place.write_text(found)

    assert found == place.read_text()


def test_nothing_is_left_of_a_template() -> None:
    for values in RENDERED.values():
        text = rendered(values)
        assert "<no value>" not in text
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), re.search(r".*[ \t]+$", text, re.MULTILINE)


def leaves(values: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Return the values below all keys, by path; an empty mapping or a list is a value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{place}/{key}") if isinstance(value, dict) and value else {f"{place}/{key}": value}
    return found


@pytest.mark.parametrize("version", HELMS)
def test_a_value_of_another_type_is_refused_for_every_key(version: str) -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    wrong: dict[str, Any] = {}
    for path, value in leaves(defaults).items():
        *above, key = path[1:].split("/")
        place = wrong
        for name in above:
            place = place.setdefault(name, {})
        place[key] = "a text" if isinstance(value, dict | list) else ["a list"]

    done = helm(version, "template", "yolo", CHART, values=yaml.safe_dump(wrong))

    assert done.returncode
    named = set(re.findall(r"(?:at '|- )/?([\w./]+?)'?:", done.stderr))
    assert {path[1:].replace("/", ".") for path in leaves(defaults)} <= {name.replace("/", ".") for name in named}


def test_every_value_is_described() -> None:
    """A comment stands above each key with a value, or above the first key of the lines that it belongs to."""
    described, undescribed = False, []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if not line.strip():
            described = False
        elif line.lstrip().startswith("#"):
            described = True
        elif not described and not line.endswith(":"):
            undescribed.append(line)

    assert undescribed == []
