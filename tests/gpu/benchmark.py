# SPDX-License-Identifier: Apache-2.0
"""What `make benchmark` does with DEVICE=gpu: export with the gpu profile, serve, and measure the ways of asking.

    python -m tests.gpu.benchmark [--weights FILE] [options of yolov8-loadtest benchmark]

Exit codes: 4, this machine lacks what one line names; else that of the program that was run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.gpu.device import LACKING, export, lacking, run
from tests.gpu.machine import this_machine
from tests.gpu.subjects import find_subjects
from yolov8_server import ServerError, TritonServer

START_TIMEOUT_S = 600
"""CUDA compiles kernels for a GPU that its libraries don't know, once."""


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.benchmark", description=__doc__)
    parser.add_argument("--weights", help="file or name (default: YOLOV8_WEIGHTS_DIR's yolov8n, or the test weights)")
    options, rest = parser.parse_known_args()
    if lack := lacking(this_machine()):
        print(f"error: {lack}", file=sys.stderr)
        return LACKING
    with tempfile.TemporaryDirectory(prefix="gpu_") as folder:  # no hyphen: DALI's backend takes none in paths
        repository = Path(folder, "repository")
        (subject,) = find_subjects(["detect"], Path(folder))
        if code := export(options.weights or str(subject.weights), repository, "--name", "yolov8"):
            return code
        images = [] if "--images" in rest else ["--images", str(subject.images[0].parent)]
        try:
            with TritonServer(repository, ready_timeout_s=START_TIMEOUT_S) as server:
                return run("yolov8_loadtest", "benchmark", "--url", server.grpc_url, *images, *rest)
        except ServerError as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
