#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build the TensorRT plans of a model repository, inside the image and on the GPU that will serve them.

    python3 build_plans.py /models             build plans that are missing or do not fit this machine
    python3 build_plans.py /models --check     build nothing; list the plans that do not fit and exit with 1
    ... --config-name l4                       build the plans that a server with --model-config-name=l4 loads

A plan runs only with the TensorRT release and on the kind of GPU that it was built with. So a note beside each plan,
`plan.json`, records both and the hash of the network. Plans are strongly typed: TensorRT takes the precision from the
network's graph. FP32 stays FP32, unless the configuration's parameter `tf32` lets TensorRT round to TF32.

Servers with different kinds of GPU can share a repository. Each kind has a custom model configuration,
`configs/l4.pbtxt`, with its own plan, `model-l4.plan`, and note, `plan-l4.json`. If a model has no such configuration,
this program reads `config.pbtxt`, as Triton does. With --config-name it never replaces a plan of another kind of GPU.

If a `model.plan` is Ultralytics' `.engine`, the header before the plan is removed. Without a `model.onnx` beside it, it
is served as it is. The program needs only the standard library, so it runs in Triton's image. Without trtexec, it
builds with the Python package `tensorrt`, through `trtexec.py` beside this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ONNX_FILE = "model.onnx"
PLAN_FILE = "model.plan"
CONFIG_FILE = "config.pbtxt"
CONFIGS = "configs"
TRTEXEC_PLACES = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
PYTHON_TRTEXEC = Path(__file__).parent / "trtexec.py"
"""The program with trtexec's options that uses TensorRT's Python package."""
MAGIC = b"ftrt"
"""The first bytes of a plan of TensorRT 10. Other bytes are no error where trtexec has just written them."""
_QUERY = ("name", "compute_cap", "driver_version")


class PlanError(Exception):
    """A plan can't be built or does not fit."""


@dataclass(frozen=True)
class Machine:
    """The properties of a machine that a plan depends on."""

    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str


@dataclass(frozen=True)
class Network:
    """A network to build: its version folder and the values from its configuration."""

    folder: Path
    plan_file: str
    max_batch_size: int
    input: str
    dims: tuple[int, ...]
    tf32: bool
    batch_profiles: bool

    @property
    def batches(self) -> list[tuple[int, int, int]]:
        """The least, the best and the largest batch size of each optimization profile."""
        most = self.max_batch_size
        return [(1, 1, 1), (2, most, most)] if self.batch_profiles else [(1, most, most)]

    @property
    def settings(self) -> dict[str, object]:
        """What the note records of the configuration."""
        return {"max_batch_size": self.max_batch_size, "tf32": self.tf32, "batch_profiles": self.batch_profiles}

    @property
    def plan(self) -> Path:
        """The path of the plan."""
        return self.folder / self.plan_file

    @property
    def onnx(self) -> Path:
        """The path of the network that the plan is built from."""
        return self.folder / ONNX_FILE

    @property
    def note(self) -> Path:
        """The path of the note that records what the plan was built for."""
        return self.folder / f"plan{self.plan.stem.removeprefix('model')}.json"


def find_networks(repository: Path, config_name: str | None = None) -> list[Network]:
    """Return all versions of all networks that run on TensorRT.

    Raises:
        PlanError: No network is found, a configuration can't be read, or no model has the custom model configuration.
    """
    if config_name and config_name not in {path.stem for path in repository.glob(f"*/{CONFIGS}/*.pbtxt")}:
        raise PlanError(
            f"{repository}: no model has a custom model configuration {config_name!r}; write it: "
            f"yolov8-export add-config NAME {config_name}"
        )
    networks = []
    for model in sorted(path.parent for path in repository.glob(f"*/{CONFIG_FILE}")):
        named = model / CONFIGS / f"{config_name}.pbtxt"
        config = named if config_name and named.is_file() else model / CONFIG_FILE
        text = config.read_text(encoding="utf-8")
        if not re.search(r'^backend:\s*"tensorrt"', text, re.MULTILINE):
            continue
        batch, tensor = re.search(r"^max_batch_size:\s*(\d+)", text, re.MULTILINE), _first_input(text)
        if batch is None or tensor is None:
            raise PlanError(f"{config}: max_batch_size or the input's name and dims can't be read; export it again")
        file = re.search(r'^default_model_filename:\s*"([^"/]+)"', text, re.MULTILINE)
        folders = sorted(path for path in model.iterdir() if path.name.isdecimal())
        plan_file = file[1] if file else PLAN_FILE
        tf32 = re.search(r'key:\s*"tf32"\s*value\s*\{\s*string_value:\s*"true"', text) is not None
        profiles = re.search(r"^\s*profile:", text, re.MULTILINE) is not None
        networks += [Network(folder, plan_file, int(batch[1]), *tensor, tf32, profiles) for folder in folders]
    if not networks:
        raise PlanError(f"{repository}: no model with backend tensorrt; export one with --network tensorrt")
    return networks


def _first_input(text: str) -> tuple[str, tuple[int, ...]] | None:
    block = re.search(r"^input\s*\{(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    name = re.search(r'name:\s*"([^"]+)"', block[1]) if block else None
    dims = re.search(r"dims:\s*\[([^\]]*)\]", block[1]) if block else None
    return (name[1], tuple(int(dim) for dim in dims[1].split(","))) if name and dims else None


def this_machine(trtexec: list[str], gpu: int) -> Machine:
    """Return the GPU, the driver and the TensorRT release of this machine.

    Raises:
        PlanError: nvidia-smi or trtexec does not report them.
    """
    query = ["nvidia-smi", f"--id={gpu}", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"]
    fields = [field.strip() for field in _output(query).split(",")]
    if len(fields) != len(_QUERY):
        raise PlanError(f"nvidia-smi printed {fields!r}, expected {', '.join(_QUERY)}: is there a GPU?")
    # The banner has the release as one number, such as v110400. It is only compared for equality.
    banner = re.search(r"TensorRT[ .]v?(\d{3,6})\b", _output([*trtexec, "--help"]))
    if banner is None:
        raise PlanError(f"{shlex.join(trtexec)} --help does not print its TensorRT release")
    return Machine(fields[0], fields[1], fields[2], banner[1])


def problem(network: Network, machine: Machine) -> str | None:
    """Return why a network's plan can't be served on this machine, or None if it can."""
    plan = network.plan
    if not plan.is_file():
        return f"{plan}: is missing"
    start, note = start_of(plan), read_note(network)
    if start not in (MAGIC, *([bytes.fromhex(note.get("header", ""))] if note else [])):
        return f"{plan}: is not a TensorRT plan, it starts with {start!r} (an Ultralytics .engine starts with a header)"
    if note is not None:
        return misfit(network, machine, note)
    if not network.onnx.is_file() and not network.note.is_file():
        return None  # it was built elsewhere and can't be built again here; Triton reports whether it loads
    return f"{network.note}: is missing or malformed, so it is unknown what the plan was built for"


def read_note(network: Network) -> dict[str, Any] | None:
    """Return what a plan was built for; None if that is unknown."""
    try:
        note: dict[str, Any] = json.loads(network.note.read_text(encoding="utf-8"))
        Machine(**note["machine"])
        bytes.fromhex(note.get("header", ""))
        return note if {"onnx_sha256", "max_batch_size"} <= note.keys() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def misfit(network: Network, machine: Machine, note: dict[str, Any]) -> str | None:
    """Return what a plan was built for that is not so here, or None."""
    # A plan runs with another driver, but not with another GPU or TensorRT.
    for name in ("gpu", "compute_capability", "tensorrt"):
        built, here = note["machine"][name], getattr(machine, name)
        if built != here:
            return f"{network.plan}: was built for {name} {built}, this machine has {here}"
    for name, value in network.settings.items():
        if (built := note.get(name, False)) != value:
            return f"{network.plan}: was built with {name} {built}, the configuration has {value}"
    if network.onnx.is_file() and sha256_of(network.onnx) != note["onnx_sha256"]:
        return f"{network.plan}: was built from another {ONNX_FILE}"
    return None


def check_not_anothers(network: Network, machine: Machine, config_name: str) -> None:
    """Refuse to replace a plan of another kind of GPU, because its servers would lose it.

    A network without the custom model configuration uses `PLAN_FILE`, which two kinds of GPU would otherwise replace in
    turn.

    Raises:
        PlanError: The plan was built for another kind of GPU.
    """
    try:
        gpu = json.loads(network.note.read_text(encoding="utf-8"))["machine"]["gpu"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if gpu == machine.gpu:
        return
    if network.plan_file == PLAN_FILE:
        model = network.folder.parent.name.removesuffix("_network")
        advice = f"add the custom model configuration to the model (yolov8-export add-config {model} {config_name})"
    else:
        advice = "use the configuration of this kind of GPU"
    raise PlanError(
        f"{network.plan}: was built for {gpu}, this machine has {machine.gpu}; {advice}, or use --force if no server "
        "has the other kind any more"
    )


def trtexec_command(trtexec: list[str], network: Network, plan: Path, cache: Path, gpu: int) -> list[str]:
    """Return the command that builds a plan.

    It is strongly typed, so that TensorRT 10 takes FP16 and INT8 from the graph as TensorRT 11 does. A release
    without the flag has only strongly typed networks.

    Raises:
        PlanError: This trtexec can't build the profiles.
    """
    known = _output([*trtexec, "--help"])
    if network.batch_profiles and "--profile" not in known:
        raise PlanError(
            f"{shlex.join(trtexec)}: knows no --profile, so it builds no plan with two; export without --batch-profiles"
        )
    shape = "x".join(map(str, network.dims))
    profiles = []
    for number, sizes in enumerate(network.batches):
        profiles += [f"--profile={number}"] if network.batch_profiles else []
        names = ("min", "opt", "max")
        profiles += [f"--{name}Shapes={network.input}:{size}x{shape}" for name, size in zip(names, sizes)]  # noqa: B905
    return [
        *trtexec,
        f"--onnx={network.folder / ONNX_FILE}",
        f"--saveEngine={plan}",
        *(["--stronglyTyped"] if "--stronglyTyped" in known else []),
        *([] if network.tf32 else ["--noTF32"]),
        *profiles,
        f"--timingCacheFile={cache}",
        f"--device={gpu}",
        "--skipInference",
    ]


def build(network: Network, machine: Machine, trtexec: list[str], cache: Path, gpu: int) -> None:
    """Build a network's plan; the old plan is replaced when the new one is complete.

    Raises:
        PlanError: TensorRT can't build the plan.
    """
    onnx, partial = network.folder / ONNX_FILE, network.plan.with_suffix(".partial")
    if not onnx.is_file():
        raise PlanError(f"{onnx}: is missing; export the model again")
    try:
        _output(trtexec_command(trtexec, network, partial, cache, gpu))
        if not partial.is_file() or not partial.stat().st_size:
            raise PlanError(f"{onnx}: trtexec ended with 0 but wrote no plan")
        if (start := start_of(partial)) != MAGIC:
            sys.stderr.write(f"warning: {network.plan}: starts with {start!r}, which is new to this program\n")
        note = {
            "machine": asdict(machine),
            "onnx_sha256": sha256_of(onnx),
            **network.settings,
            "plan_bytes": partial.stat().st_size,
            "header": start.hex(),
        }
        network.note.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        partial.replace(network.plan)
    finally:
        partial.unlink(missing_ok=True)


def start_of(plan: Path) -> bytes:
    """Return the first bytes of a plan, as many as `MAGIC` has."""
    with plan.open("rb") as file:
        return file.read(len(MAGIC))


def strip_header(plan: Path) -> None:
    """Remove the header of an Ultralytics ``.engine``: 4 bytes with the length of a JSON text, and the JSON text."""
    content = plan.read_bytes() if plan.is_file() else b""
    length = int.from_bytes(content[:4], "little", signed=True)
    if 0 < length < len(content) and content[4 + length :].startswith(MAGIC):
        partial = plan.with_suffix(".partial")
        partial.write_bytes(content[4 + length :])
        partial.replace(plan)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_trtexec() -> list[str]:
    """Return the command of trtexec from $TRTEXEC, PATH or the folders of Triton's image, or of `PYTHON_TRTEXEC`.

    Raises:
        PlanError: Neither trtexec nor TensorRT's Python package is found.
    """
    for place in (os.environ.get("TRTEXEC"), shutil.which("trtexec"), *TRTEXEC_PLACES):
        if place and os.access(place, os.X_OK):
            return [place]
    if PYTHON_TRTEXEC.is_file() and find_spec("tensorrt"):
        return [sys.executable, str(PYTHON_TRTEXEC)]
    raise PlanError(
        f"no trtexec in $TRTEXEC, PATH, {', '.join(TRTEXEC_PLACES)}, and no package tensorrt for {sys.executable}: "
        "run this in the Triton image, or install TensorRT of the server's version (pip install tensorrt)"
    )


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise PlanError(f"{command[0]}: can't be run: {exc.strerror}") from exc
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise PlanError(f"{' '.join(command)}: ended with {done.returncode}:\n{tail}")
    return done.stdout + done.stderr


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the TensorRT plans of a model repository.")
    parser.add_argument("repository", type=Path, help="model repository")
    parser.add_argument("--check", action="store_true", help="build nothing, list the plans that do not fit")
    parser.add_argument("--force", action="store_true", help="build plans that fit or are for another kind of GPU, too")
    parser.add_argument(
        "--config-name",
        default=os.environ.get("CONFIG_NAME") or None,
        help="custom model configuration to read, as tritonserver's --model-config-name (default: $CONFIG_NAME)",
    )
    parser.add_argument("--gpu", type=int, default=0, help="number of the GPU to build on")
    options = parser.parse_args(arguments)
    # nvidia-smi counts GPUs in this order; CUDA would count the fastest first.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    again = f"python3 build_plans.py {options.repository}"
    cache = options.repository / "timing.cache"
    if options.config_name:
        again += f" --config-name {options.config_name}"
        cache = options.repository / f"timing-{options.config_name}.cache"  # timings hold for one kind of GPU
    try:
        trtexec = find_trtexec()
        machine = this_machine(trtexec, options.gpu)
        misfits = 0
        for network in find_networks(options.repository, options.config_name):
            if not options.check:
                strip_header(network.plan)
            why = problem(network, machine)
            if options.check:
                misfits += why is not None
                sys.stderr.write(f"{why}; build it: {again}\n" if why else "")
            elif why or options.force:
                if options.config_name and not options.force:
                    check_not_anothers(network, machine, options.config_name)
                sys.stdout.write(f"{network.plan}: building takes minutes ({why or 'forced'})\n")
                sys.stdout.flush()
                build(network, machine, trtexec, cache, options.gpu)
    except PlanError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    return 1 if misfits else 0


if __name__ == "__main__":
    sys.exit(main())
