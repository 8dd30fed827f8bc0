# SPDX-License-Identifier: Apache-2.0
"""A machine with a GPU as far as `build_plans.py` can see: a repository, and programs in place of NVIDIA's."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docker" / "build_plans.py"
CONFIG = Path(__file__).parents[1] / "model_repository_gpu" / "yolov8n_network" / "config.pbtxt"
PLAN = b"ftrt and the rest"

TRTEXEC = """#!/bin/sh
case "$*" in *--help*) echo "&&&& RUNNING TensorRT.trtexec [TensorRT v110400] # trtexec --help"
  echo "${OPTIONS:---stronglyTyped --profile=N}"; exit 0;; esac
echo "order $CUDA_DEVICE_ORDER" >> "$LOG"
for argument in "$@"; do
  echo "$argument" >> "$LOG"
  case "$argument" in --saveEngine=*) printf '%s' "$PLAN" > "${argument#--saveEngine=}";; esac
done
exit "${FAILS:-0}"
"""
NVIDIA_SMI = '#!/bin/sh\necho "${GPU:-NVIDIA L4}, 8.9, 580.95.05"\n'


class Machine:
    """A repository with one network, and programs on the path."""

    def __init__(self, folder: Path, programs: Mapping[str, str], **environment: str) -> None:
        self.repository = folder / "models"
        self.version = self.repository / "yolov8n_network" / "1"
        self.version.mkdir(parents=True)
        self.config = self.version.parent / "config.pbtxt"
        self.config.write_text(CONFIG.read_text())
        (self.version / "model.onnx").write_bytes(b"a network")
        path = folder / "bin"
        path.mkdir()
        for name, text in programs.items():
            (path / name).write_text(text)
            (path / name).chmod(stat.S_IRWXU)
        self.log = folder / "log"
        self.environment = {"PATH": f"{path}:/usr/bin:/bin", "LOG": str(self.log)} | environment

    def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        isolated = [] if "PYTHONPATH" in self.environment else ["-I"]  # the script has Python's own library alone
        command = [sys.executable, *isolated, str(SCRIPT), str(self.repository), *options]
        return subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, check=False, timeout=60
        )

    def refusal(self, difference: str) -> list[str]:
        """Return the lines that refuse a plan which was built elsewhere."""
        return [f"{self.plan}: was built for {difference}; build it: python3 build_plans.py {self.repository}"]

    @property
    def plan(self) -> Path:
        return self.version / "model.plan"
