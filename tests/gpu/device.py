# SPDX-License-Identifier: Apache-2.0
"""What the commands with DEVICE=gpu share: what this machine lacks for it, its engine, and its plans.

    python -m tests.gpu.device ready                  say what this machine lacks
    python -m tests.gpu.device serve REPOSITORY ...   build plans that are missing, and serve

Exit codes: 4, this machine lacks what one line names; else that of the program that was run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.gpu.machine import Machine, this_machine

BUILD_PLANS = Path(__file__).parents[2] / "docker" / "build_plans.py"
LACKING = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu.device", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("ready")
    serve = verbs.add_parser("serve")
    serve.add_argument("repository", type=Path)
    options, rest = parser.parse_known_args(arguments)
    if lack := lacking(this_machine(), packages=options.verb != "ready"):
        print(f"error: {lack}", file=sys.stderr)
        return LACKING
    if options.verb == "serve":
        return build_plans(options.repository) or run("yolov8_server", str(options.repository), *rest)
    return 0


def lacking(machine: Machine, *, packages: bool = True) -> str:
    """Return what the machine lacks most to serve the gpu profile; empty if nothing."""
    if not machine.gpus:
        (reason,) = (line for line in machine.missing if line.startswith("an NVIDIA GPU"))
        return f"DEVICE=gpu needs {reason}; without DEVICE, the same runs on the CPU"
    wanted = ("a tritonserver", *(("DALI", "onnxruntime-gpu", "CuPy") if packages else ()))
    found = [line for line in machine.missing if line.startswith(wanted)]
    return f"DEVICE=gpu needs {found[0]}" if found else ""


def engine(machine: Machine) -> str:
    """Return the engine of networks: TensorRT where it can be loaded, else ONNX Runtime."""
    return "tensorrt" if machine.has_tensorrt else "onnxruntime"


def export(weights: str, repository: Path, *options: str) -> int:
    """Export with the gpu profile for this machine's engine, and build the plan; return the exit code."""
    chosen = engine(this_machine())
    code = run(
        "yolov8_export", "export", weights, "--repository", str(repository), "--profile", "gpu", "--network", chosen,
        *options,
    )  # fmt: skip
    return code or build_plans(repository)


def build_plans(repository: Path) -> int:
    """Build the plans that a repository lacks, if it has networks for TensorRT; return the exit code."""
    configs = [*repository.glob("*/config.pbtxt"), *repository.glob("*/configs/*.pbtxt")]
    if not any('backend: "tensorrt"' in config.read_text(encoding="utf-8") for config in configs):
        return 0
    return subprocess.run([sys.executable, str(BUILD_PLANS), str(repository)], check=False).returncode


def run(module: str, *arguments: str) -> int:
    """Run a program of this project with this Python; return its exit code."""
    assert find_spec(module) is not None
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
