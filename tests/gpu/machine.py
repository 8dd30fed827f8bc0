# SPDX-License-Identifier: Apache-2.0
"""What a machine has, and what it lacks, for the gpu profile."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

from yolov8_server import TritonNotFoundError, find_tritonserver

QUERY = ("name", "driver_version", "memory.total", "compute_cap")
PACKAGES = (
    "nvidia-pytriton", "nvidia-dali-cuda120", "nvidia-dali-cuda130", "onnxruntime", "onnxruntime-gpu", "tensorrt",
    "tensorrt-cu12", "tensorrt-cu13", "cupy-cuda12x", "cupy-cuda13x", "ultralytics", "torch", "numpy", "nncf",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A description for the report.

    Attributes:
        gpus: A line for each GPU; empty without one.
        server: The tritonserver that is used.
        backends: Its own backends; the embedded server has only ``python``.
        missing: One line for each thing that the whole profile on a GPU would need and that is not there.
    """

    gpus: list[str]
    cpu: str
    cores: int
    system: str
    server: str
    backends: list[str]
    packages: dict[str, str]
    missing: list[str] = field(default_factory=list)

    @property
    def has_tensorrt(self) -> bool:
        """Whether Triton has its tensorrt backend, or this Python the package for the embedded server's."""
        return "tensorrt" in self.backends or any(name.startswith("tensorrt") for name in self.packages)

    @property
    def title(self) -> str:
        """Return the GPU's name, or the processor's."""
        return self.gpus[0].split(",")[0] if self.gpus else self.cpu


def this_machine() -> Machine:
    """Look at this machine; nothing is started but ``nvidia-smi``."""
    gpus, missing = _gpus()
    try:
        installation = find_tritonserver()
        server = f"{'embedded' if installation.is_embedded else 'full'} ({installation.binary.name})"
        backends = sorted(path.name for path in installation.backends.iterdir())
    except TritonNotFoundError:
        server, backends = "none", []
        missing.append("a tritonserver: make setup")
    installed = {item.metadata["Name"].lower(): item.version for item in reversed(list(distributions()))}
    packages = {name: installed[name] for name in PACKAGES if name in installed}
    if "tensorrt" not in backends and not any(name.startswith("tensorrt") for name in packages):
        missing.append("TensorRT: pip install tensorrt-cu13, or NVIDIA's image; ONNX Runtime runs the network here")
    if "dali" not in backends and not any(name.startswith("nvidia-dali") for name in packages):
        missing.append("DALI: make setup-gpu")
    if "onnxruntime-gpu" not in packages and "onnxruntime" not in backends:
        missing.append("onnxruntime-gpu: make setup-gpu")
    if "nncf" not in packages:
        missing.append("NNCF, without which no network is quantised to INT8: make setup-gpu")
    if not backends or backends == ["python"]:
        missing += [] if any(name.startswith("cupy") for name in packages) else ["CuPy: make setup-gpu"]
    cores = os.cpu_count() or 1
    return Machine(gpus, _cpu(), cores, platform.platform(), server, backends, packages, missing)


def _gpus() -> tuple[list[str], list[str]]:
    if shutil.which("nvidia-smi") is None:
        return [], ["an NVIDIA GPU: there is no nvidia-smi, which the driver brings"]
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        return [], [f"an NVIDIA GPU: nvidia-smi says {(done.stdout + done.stderr).strip()!r}"]
    return [line.strip() for line in done.stdout.splitlines()], []


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
