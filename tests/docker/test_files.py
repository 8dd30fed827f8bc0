# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile, the scripts and the compose file, as far as they can be judged without running them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import DOCKER, ROOT, TOOLS, run

COMPOSE = DOCKER / "compose.yaml"
PROFILES = ("cpu", "gpu", "loadtest")
VALIDATE = "import sys, compose_spec; compose_spec.PyCompose.from_yaml(open(sys.argv[1]).read()).validate()"
LOOPBACK = "127.0.0.1:"
UNITS = {"s": 1, "m": 60}


def resolved(profile: str, **environment: str) -> str:
    """Return the compose file with its variables and anchors filled in."""
    return run(TOOLS / "podman-compose", "-f", COMPOSE, "--profile", profile, "config", **environment)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Every service, of all profiles."""
    found: dict[str, Any] = {}
    for profile in PROFILES:
        found |= yaml.safe_load(resolved(profile))["services"]
    return found


def seconds(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    run(TOOLS / "hadolint", DOCKER / "Dockerfile")


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    run("shellcheck", *DOCKER.glob("*.sh"), *Path(__file__).parent.glob("*.sh"))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_compose_file_is_valid(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(resolved(profile))

    run(TOOLS / "python", "-c", VALIDATE, path)


def test_what_validates_it_knows_a_misspelt_field(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(resolved("cpu").replace("read_only:", "readonly:"))

    with pytest.raises(AssertionError, match="readonly"):
        run(TOOLS / "python", "-c", VALIDATE, path)


def test_there_are_the_services_that_operations_need(services: dict[str, Any]) -> None:
    assert set(services) == {
        "triton-cpu", "triton-gpu", "engine-builder", "proxy", "prometheus", "grafana", "locust",
    }  # fmt: skip


def test_every_service_is_confined(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def test_ports_are_bound_to_loopback_unless_told_otherwise(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if service.get("ports")}

    assert set(ports) == {"proxy", "prometheus", "grafana", "locust"}  # Triton's own are not published
    assert all(port.startswith(LOOPBACK) for bound in ports.values() for port in bound)
    assert yaml.safe_load(resolved("cpu", BIND="0.0.0.0"))["services"]["proxy"]["ports"][0] == "0.0.0.0:8001:8001"


def test_triton_is_alone_on_a_network_without_a_way_out(services: dict[str, Any]) -> None:
    networks = yaml.safe_load(resolved("cpu"))["networks"]

    assert networks["inner"]["internal"] is True
    for name in ("triton-cpu", "triton-gpu"):
        assert set(services[name]["networks"]) == {"inner"}


def test_there_is_time_for_requests_in_flight(services: dict[str, Any]) -> None:
    for name in ("triton-cpu", "triton-gpu"):
        timeout = int(services[name]["environment"]["TRITON_EXIT_TIMEOUT_S"])
        assert seconds(services[name]["stop_grace_period"]) >= timeout + 15, name
    proxy = services["proxy"]
    read = re.search(r"grpc_read_timeout (\d+)s", (DOCKER / "nginx" / "nginx.conf").read_text())
    assert read is not None
    assert (proxy["stop_signal"], seconds(proxy["stop_grace_period"]) > int(read[1])) == ("SIGQUIT", True)


def test_triton_is_served_read_only_and_plans_are_built_first(services: dict[str, Any]) -> None:
    for name in ("triton-cpu", "triton-gpu"):
        assert services[name]["volumes"][0].endswith(":/models:ro")
    assert services["triton-gpu"]["depends_on"]["engine-builder"]["condition"] == "service_completed_successfully"
    assert services["engine-builder"]["image"] == services["triton-gpu"]["image"]
    assert services["engine-builder"]["command"][-1] == "/models"
    for name in ("triton-gpu", "engine-builder"):
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_images_are_pinned_by_a_version(services: dict[str, Any]) -> None:
    ours = {name for name, service in services.items() if service["image"].startswith("yolov8-triton:")}
    assert ours == {"triton-cpu", "triton-gpu", "engine-builder", "locust"}
    for name in services.keys() - ours:
        assert re.search(r":v?\d+\.\d+\.\d+", services[name]["image"]), name
    bases = re.findall(r"^ARG \w+_IMAGE=(\S+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert [bool(re.search(r":\d+\.\d+", base)) for base in bases] == [True, True]


def test_each_image_that_is_built_has_its_target(services: dict[str, Any]) -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    built = {service["build"]["target"] for service in services.values() if "build" in service}

    assert built == {"cpu", "gpu", "loadtest"}
    assert built < targets


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", sorted(DOCKER.glob("requirements-*.txt")), ids=lambda path: path.name)
def test_images_have_the_versions_that_are_tested(path: Path) -> None:
    locked, pinned = pins(ROOT / "requirements.lock"), pins(path)

    assert pinned
    assert {name: locked.get(name) for name in pinned} == pinned, "run sh docker/lock.sh and commit what changed"
    assert path.read_text().count("--hash=sha256:") >= len(pinned)


def test_the_torch_of_the_export_image_is_the_tested_one() -> None:
    locked = pins(ROOT / "requirements.lock")
    stated = re.search(
        r'^ARG TORCH="torch==(\S+) torchvision==(\S+)"', (DOCKER / "Dockerfile").read_text(), re.MULTILINE
    )

    assert stated is not None
    assert stated.groups() == (locked["torch"], locked["torchvision"])


def serve_options(folder: Path, *arguments: str, **environment: str) -> list[str]:
    """Return what docker/serve.sh gives to a tritonserver that prints its arguments."""
    server = folder / "tritonserver"
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    server.chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    done = subprocess.run(
        [shell, DOCKER / "serve.sh", *arguments],
        env={"PATH": f"{folder}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_nobody_administers_a_server_without_a_key(tmp_path: Path) -> None:
    first, second = ([option for option in serve_options(tmp_path) if "restricted" in option] for _ in range(2))

    pattern = r"--(grpc|http)-restricted-(protocol|api)=model-repository,shared-memory,statistics,trace,logging:"
    assert all(re.fullmatch(pattern + r"triton-admin-key=[0-9a-f]{64}", option) for option in first)
    assert (len(first), first[0] != second[0]) == (2, True)


def test_the_playgrounds_list_and_statistics_are_open_with_it_alone(tmp_path: Path) -> None:
    closed = {state: serve_options(tmp_path, PLAYGROUND=state, TRITON_ADMIN_KEY="k") for state in ("off", "on")}
    own = serve_options(tmp_path, PLAYGROUND="on", TRITON_RESTRICTED="statistics", TRITON_ADMIN_KEY="k")

    assert (
        "--http-restricted-api=model-repository,shared-memory,statistics,trace,logging:triton-admin-key=k"
        in closed["off"]
    )
    assert "--http-restricted-api=shared-memory,trace,logging:triton-admin-key=k" in closed["on"]
    assert "--http-restricted-api=statistics:triton-admin-key=k" in own
    assert "--model-control-mode=none" in closed["on"]


def test_a_key_options_and_arguments_reach_the_server(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("from a file\n")

    options = serve_options(
        tmp_path,
        "--log-verbose=1",
        TRITON_ADMIN_KEY_FILE=str(key),
        TRITON_OPTIONS="--a=1 --b=2",
        TRITON_RESTRICTED="trace",
    )

    assert options[-3:] == ["--a=1", "--b=2", "--log-verbose=1"]
    assert "--grpc-restricted-protocol=trace:triton-admin-key=from a file" in options
    assert {"--model-control-mode=none", "--disable-auto-complete-config"} <= set(options)


def test_a_configurations_name_reaches_the_server(tmp_path: Path) -> None:
    path = tmp_path / "models of mine" / "m_network" / "configs" / "l4.pbtxt"
    path.parent.mkdir(parents=True)
    path.write_text("")

    named = serve_options(tmp_path, MODEL_REPOSITORY=str(path.parents[2]), CONFIG_NAME="l4")
    in_a_cloud = serve_options(tmp_path, MODEL_REPOSITORY="s3://models", CONFIG_NAME="l4")

    assert "--model-config-name=l4" in named
    assert "--model-config-name=l4" in in_a_cloud  # where nobody can look
    for name in ("", None):
        environment = {} if name is None else {"CONFIG_NAME": name}
        assert not [option for option in serve_options(tmp_path, **environment) if "config-name" in option]


def test_a_name_that_no_model_has_does_not_serve_the_others_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "m_network" / "configs").mkdir(parents=True)

    with pytest.raises(subprocess.CalledProcessError) as caught:
        serve_options(tmp_path, MODEL_REPOSITORY=str(tmp_path), CONFIG_NAME="l5")

    assert caught.value.stderr == f"error: CONFIG_NAME is l5, and no model in {tmp_path} has configs/l5.pbtxt\n"


def test_plans_are_built_for_the_configuration_that_is_served() -> None:
    found = yaml.safe_load(resolved("gpu", CONFIG_NAME="l4"))["services"]

    assert {found[name]["environment"]["CONFIG_NAME"] for name in ("triton-gpu", "engine-builder")} == {"l4"}
