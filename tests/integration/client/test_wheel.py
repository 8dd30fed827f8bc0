# SPDX-License-Identifier: Apache-2.0
"""The client alone: its wheel in an empty environment, light to install and to import, typed for its users."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

UV = [sys.executable, "-m", "uv"]
CLIENT = Path(__file__).parents[3] / "client"
IMPORT_LIMIT_S = 0.5
ATTEMPTS = 7

HEAVY = {
    "torch",
    "torchvision",
    "ultralytics",
    "opencv-python",
    "opencv-python-headless",
    "supervision",
    "typer",
    "httpx",
    "aiohttp",
    "geventhttpclient",
    "opentelemetry-api",
}

MEASURE = """
import json, sys, time
start = time.process_time()
import yolov8_triton
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules), "file": yolov8_triton.__file__}))
"""

SCRIPT = """
from pathlib import Path

import numpy as np
import numpy.typing as npt

from yolov8_triton import AsyncClient, Client, Detections, ServerOverloadedError, Tls, TlsError, YoloTritonError


def people(path: Path) -> npt.NDArray[np.float32]:
    with Client("localhost:8001", model="yolov8n", timeout_s=2) as client:
        try:
            found: Detections = client.detect(path, conf=0.4, classes=["person", 1], timeout_s=1.5)
        except ServerOverloadedError:
            return Detections.empty().xyxy
        except YoloTritonError as exc:
            raise SystemExit(str(exc)) from exc
        sure = found[found.confidence > 0.5].only("person")
        for one in sure:
            print(one.class_name[0], one.orig_shape, client.labels, client.task.value)
        return sure.xyxy


def masks(frame: npt.NDArray[np.uint8], client: Client) -> npt.NDArray[np.bool_]:
    return client.segment(frame, channels="BGR", agnostic=True).mask


def best(image: bytes, client: Client) -> str:
    return client.classify(image).top1_name


async def fetch() -> str:
    return "a token"


async def secure(paths: list[Path]) -> list[Detections | None]:
    tls = Tls(ca="ca.pem", certificate=Path("me.pem"), key=Path("me.key"))
    servers = ["a:8001", "b:8001"]
    async with AsyncClient(servers, tls=tls, token=fetch, compression="gzip", shared_memory=True) as client:
        try:
            return [outcome.result async for outcome in client.detect_many(paths)]
        except TlsError:
            return [None]


def over_http() -> Client:
    return Client("http://localhost:8000", token=lambda: "a token", headers={"infer-key": "s3cret"})
"""

MISTAKES = """
from yolov8_triton import Client

client = Client("a")
client.detect("x.jpg", confidence=0.5)
client.detect("x.jpg", conf="high")
client.classify("x.jpg", conf=0.5)
client.detect("x.jpg").mask
Client("a", tls="ca.pem")
Client("a", token=7)
Client("a", compression="zip")
Client("a", "yolov8n")
"""
FIRST_MISTAKE = 5
"""The line from which on every one is wrong."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CLIENT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    interpreter = folder / "bin" / "python"
    subprocess.run([*UV, "venv", "--quiet", "--python", sys.executable, "--clear", folder], check=True, timeout=60)
    install = [*UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", interpreter]  # as pip does
    subprocess.run([*install, wheel], check=True, timeout=240)
    return interpreter


def imported(python: Path) -> dict[str, Any]:
    done = subprocess.run([python, "-c", MEASURE], check=True, capture_output=True, text=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_wheel_holds_two_typed_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"yolov8_contract", "yolov8_triton"}
    assert {"yolov8_contract/py.typed", "yolov8_triton/py.typed"} <= set(names)


def test_the_client_installs_nothing_heavy(python: Path) -> None:
    listing = [*UV, "pip", "list", "--python", python, "--format", "json"]
    done = subprocess.run(listing, check=True, capture_output=True, text=True, timeout=60)

    assert not HEAVY & {package["name"] for package in json.loads(done.stdout)}


def test_the_client_imports_in_half_a_second(python: Path) -> None:
    # Processor time of the best of some attempts: what an import takes on a machine that does nothing else.
    attempts = [imported(python) for _ in range(ATTEMPTS)]

    assert not Path(attempts[0]["file"]).is_relative_to(CLIENT)
    assert not {"torch", "ultralytics", "cv2", "supervision", "PIL"} & set(attempts[0]["modules"])
    assert min(attempt["seconds"] for attempt in attempts) < IMPORT_LIMIT_S


def test_the_command_says_what_it_lacks(python: Path) -> None:
    command = python.parent / "yolov8-triton"
    done = subprocess.run([command, "detect", "x.jpg"], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: this needs typer: pip install 'yolov8-triton-client[cli]'\n"


def test_strict_type_checks_pass_a_user_s_script_and_find_each_mistake(python: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", python]

    done = subprocess.run(
        [*mypy, "script.py", "mistakes.py"], capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path
    )

    errors = [line.split(": ")[0] for line in done.stdout.splitlines() if ": error: " in line]
    assert errors == [f"mistakes.py:{line}" for line in range(FIRST_MISTAKE, len(MISTAKES.splitlines()) + 1)]
