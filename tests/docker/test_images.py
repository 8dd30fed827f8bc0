# SPDX-License-Identifier: Apache-2.0
"""The images are built and the composition runs, from stand-ins for the bases that only a registry has.

Slow (some three minutes, of which the stand-ins take half; they are kept), and in need of root: see README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import DOCKER, FOLDER, MODEL, ROOT, TOOLS, picture, run
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_triton import Client, InvalidImageError

CONTAINERS = "tests/docker/containers.sh"
ADDRESS = "127.77.0.1"
"""A loopback address of its own, because other programs may use ports 8000 and 8001 of 127.0.0.1."""
TRITON, PROMETHEUS = "yolov8-triton_triton-cpu_1", "yolov8-triton_prometheus_1"
BUILD_S, READY_S = 600, 90
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--tmpfs=/tmp")


def contained(*command: str, timeout_s: float = 120, **environment: str) -> str:
    """Run buildah, podman or podman-compose with the storage and the settings of these tests."""
    script = f'. {CONTAINERS}; exec "$@"'
    return run("bash", "-c", script, "bash", *command, timeout_s=timeout_s, **environment)


def compose(*arguments: str, **environment: str) -> str:
    command = (str(TOOLS / "podman-compose"), "--podman-run-args=--pull=never", "-f", str(DOCKER / "compose.yaml"))
    return contained(*command, "--profile", "cpu", *arguments, timeout_s=300, **environment)


def make_bases() -> None:
    """Make the stand-ins, unless they are there."""
    names = contained("podman", "images", "--format", "{{.Repository}}")
    if not all(
        name in names for name in ("nvidia/tritonserver", "library/python", "nginx-unprivileged", "prom/prometheus")
    ):
        run("tests/docker/stand_in.sh", timeout_s=BUILD_S)


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """The images of this project by target, built by the Dockerfile as it is."""
    make_bases()
    built = {}
    for target in ("gpu", "cpu", "export-onnx"):
        built[target] = f"yolov8-triton:{target}"
        contained(
            "buildah", "bud", "--layers", "--format", "docker", "--pull=never", "--network", "host",
            "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro",  # this machine's certificates, for pip
            "-f", "docker/Dockerfile", "--target", target, "-t", built[target], ".",
            timeout_s=BUILD_S,
        )  # fmt: skip
    return built


def inspected(image: str) -> dict[str, Any]:
    (found,) = json.loads(contained("podman", "image", "inspect", image))
    return dict(found)


@pytest.mark.parametrize("target", ["gpu", "cpu", "export-onnx"])
def test_an_image_runs_as_a_number_that_is_not_root(images: dict[str, str], target: str) -> None:
    assert inspected(images[target])["User"] == "1000:1000"


def test_serving_images_tell_their_health_and_keep_the_bases_way_in(images: dict[str, str]) -> None:
    for target in ("gpu", "cpu"):
        image = inspected(images[target])
        assert image["Healthcheck"]["Test"][0] == "CMD"
        assert image["Config"]["Cmd"] == ["/opt/yolov8-triton/serve.sh"]
        assert not image["Config"].get("Entrypoint")  # the stock image's own stays; the stand-in has none


def test_no_cache_is_left(images: dict[str, str]) -> None:
    for target in ("cpu", "export-onnx"):
        find = ("find", "/root", "/home", "/tmp", "/var/cache/apt/archives", "-type", "f", "-size", "+20k")
        listed = contained("podman", "run", "--rm", "--user=0:0", "--entrypoint=[]", images[target], *find)
        assert [line for line in listed.splitlines() if line.startswith("/")] == [], target


@pytest.fixture(scope="module")
def running(images: dict[str, str], repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The composition: Triton, the proxy and Prometheus."""
    assert "cpu" in images
    resolver = tmp_path_factory.mktemp("resolver") / "resolver.conf"
    environment = {
        "MODELS": str(repository), "BIND": ADDRESS, "BIND_METRICS": ADDRESS, "PROXY_RESOLVER": str(resolver),
        "TRITON_SHM_SIZE": "384m", "TRITON_ADMIN_KEY": "a-key",
    }  # fmt: skip
    compose("down", **environment)
    try:
        compose("up", "-d", "triton-cpu", **environment)
        wait_until_healthy()
        lines = contained("podman", "exec", TRITON, "cat", "/etc/resolv.conf").splitlines()
        server = next(line.split()[1] for line in lines if line.startswith("nameserver"))
        resolver.write_text((DOCKER / "nginx" / "resolver.conf").read_text().replace("127.0.0.11", server))
        resolver.parent.chmod(0o755)
        compose("up", "-d", "--no-deps", "proxy", "prometheus", **environment)
        yield
    finally:
        compose("down", **environment)


def wait_until_healthy() -> None:
    """Run the image's own HEALTHCHECK; podman does so by itself only where there is systemd."""
    deadline = time.monotonic() + READY_S
    check = f". {CONTAINERS}; podman healthcheck run {TRITON}"
    while subprocess.run(["bash", "-c", check], cwd=ROOT, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, contained("podman", "logs", TRITON)
        time.sleep(0.5)


@pytest.mark.usefixtures("running")
def test_the_client_gets_its_answers_through_the_proxy(tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(picture())
    command = (Path(sys.executable).with_name("yolov8-triton"), "detect", tmp_path / "picture.jpg", "--model", MODEL)

    assert "2 square, 1 circle" in run(*command, "--url", f"{ADDRESS}:8001", "--conf", "0.1")


@pytest.mark.usefixtures("running")
def test_bad_images_and_administration_are_refused() -> None:
    with Client(f"{ADDRESS}:8001", model=MODEL) as client:
        client.check()
        with pytest.raises(InvalidImageError, match="larger than the proxy allows"):
            client.detect(picture() + bytes(40 * 2**20))
        with pytest.raises(InvalidImageError, match="its format is unknown"):
            client.detect(b"text")


@pytest.mark.parametrize(("headers", "expected"), [("{}", "403"), ('{"triton-admin-key": "a-key"}', "200")])
@pytest.mark.usefixtures("running")
def test_administration_takes_the_key(headers: str, expected: str) -> None:
    ask = f"""
import urllib.error, urllib.request
request = urllib.request.Request("http://localhost:8000/v2/models/{MODEL}/stats", headers={headers})
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
    assert contained("podman", "exec", TRITON, "python3", "-c", ask).split()[-1] == expected


@pytest.mark.usefixtures("running")
def test_prometheus_scrapes_triton_across_the_composition() -> None:
    query = "import urllib.request; print(urllib.request.urlopen('http://localhost:9090/api/v1/query?query=up').read())"
    deadline = time.monotonic() + 30
    while True:
        answer = contained("podman", "exec", PROMETHEUS, "python3", "-c", query)
        if '"triton:8002","job":"triton"},"value"' in answer and ',"1"]' in answer.split("triton:8002")[1]:
            return
        assert time.monotonic() < deadline, answer
        time.sleep(1)


@pytest.mark.usefixtures("running")
def test_triton_is_confined() -> None:
    (container,) = json.loads(contained("podman", "inspect", TRITON))

    assert container["EffectiveCaps"] in ([], None)
    assert container["HostConfig"]["ReadonlyRootfs"] is True
    assert container["HostConfig"]["ShmSize"] == 384 * 2**20
    assert contained("podman", "exec", TRITON, "id", "-u").split()[-1] == "1000"
    with pytest.raises(AssertionError, match="Read-only file system"):
        contained("podman", "exec", TRITON, "touch", "/opt/tritonserver/x")
    with pytest.raises(AssertionError, match="Read-only file system"):
        contained("podman", "exec", TRITON, "touch", "/models/x")


@pytest.mark.usefixtures("running")
def test_triton_ends_well_and_in_time() -> None:
    """The last test: it takes the server away."""
    start = time.monotonic()
    contained("podman", "stop", "--time", "60", TRITON)

    assert time.monotonic() - start < 30
    assert contained("podman", "inspect", TRITON, "--format", "{{.State.ExitCode}}").split()[-1] == "0"
    assert "unloaded" in contained("podman", "logs", TRITON)


def test_the_builder_of_plans_says_what_it_lacks(images: dict[str, str], repository: Path) -> None:
    """The stand-in has no TensorRT; that the file is there and runs is what can be seen here."""
    command = ("podman", "run", "--rm", *CONFINED, "-v", f"{repository}:/models:ro", images["gpu"])

    with pytest.raises(AssertionError, match="error: no trtexec in"):
        contained(*command, "python3", "/opt/yolov8-triton/build_plans.py", "/models", "--check")


def test_the_export_image_makes_a_repository_of_a_ready_network(images: dict[str, str]) -> None:
    work = FOLDER / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    planes = Target(repository=work / "fp32", name=MODEL)  # the tensors of a network that Ultralytics exports
    deployment = Deployment(network_input="fp32", network_output="raw")
    export(ROOT / "tests" / "data" / f"{MODEL}.pt", planes, deployment=deployment)
    shutil.copy(work / "fp32" / f"{MODEL}_network" / "1" / "model.onnx", work / "mine.onnx")
    for path in (work, work / "mine.onnx"):
        os.chown(path, 1000, 1000)
    command = ("podman", "run", "--rm", *CONFINED, "-v", f"{work}:/work", images["export-onnx"])

    contained(*command, "export", "mine.onnx", "--repository", "repository")
    checked = contained(*command, "check", "repository")

    assert "mine: no findings" in checked
    assert (work / "repository" / "mine_network" / "1" / "model.onnx").stat().st_uid == 1000
    shutil.rmtree(work)


def test_the_way_to_all_of_this_is_documented() -> None:
    text = (ROOT / "tests" / "docker" / "README.md").read_text()

    assert all(name in text for name in ("make docker-test", "stand_in.sh", "buildah", "podman"))
    assert subprocess.run(["bash", "-n", ROOT / "tests" / "docker" / "run.sh"], check=False).returncode == 0
