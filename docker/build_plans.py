#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build the TensorRT plans of a model repository, inside the image and on the GPU that will serve them.

    python3 build_plans.py /models             build what is missing or was built for something else
    python3 build_plans.py /models --check     build nothing; say what does not fit, exit with 1
    ... --config-name l4                       the plans that a server with --model-config-name=l4 loads

A plan runs with the release of TensorRT and on the kind of GPU that it was built with, and no others. So a note beside
each, `plan.json`, says which those were and of which network it is. Precision is the network's own: TensorRT 11 takes
it from the graph.

Servers with different kinds of GPU can share a repository: each kind has its configuration, `configs/l4.pbtxt`, and
that names a plan of its own, `model-l4.plan` with the note `plan-l4.json`. Where a model has none of the name, Triton
reads `config.pbtxt`, and so does this; but with a name it builds over no plan of another kind.

A `model.plan` that is Ultralytics' `.engine` loses the header in front of the plan; without a `model.onnx` beside it,
it is served as it is. The standard library alone is used: the stock image needs nothing more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ONNX_FILE = "model.onnx"
PLAN_FILE = "model.plan"
CONFIG_FILE = "config.pbtxt"
CONFIGS = "configs"
TRTEXEC_PLACES = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
MAGIC = b"ftrt"
"""The first bytes of each plan."""
_QUERY = ("name", "compute_cap", "driver_version")


class PlanError(Exception):
    """A plan could not be built, or does not fit."""


@dataclass(frozen=True)
class Machine:
    """What a plan depends on."""

    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str


@dataclass(frozen=True)
class Network:
    """A network to build: its version folder, and what its configuration says."""

    folder: Path
    plan_file: str
    max_batch_size: int
    input: str
    dims: tuple[int, ...]

    @property
    def plan(self) -> Path:
        """Where its plan goes."""
        return self.folder / self.plan_file

    @property
    def note(self) -> Path:
        """Where the note goes that tells what the plan was built for."""
        return self.folder / f"plan{self.plan.stem.removeprefix('model')}.json"


def find_networks(repository: Path, config_name: str | None = None) -> list[Network]:
    """Return all versions of all networks that TensorRT is to run.

    Raises:
        PlanError: There is none, or one can't be read, or none has a configuration of the name.
    """
    if config_name and config_name not in {path.stem for path in repository.glob(f"*/{CONFIGS}/*.pbtxt")}:
        raise PlanError(
            f"{repository}: no model has a configuration {config_name!r}; write it: "
            f"python -m yolov8_export add-config NAME {config_name}"
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
        networks += [Network(folder, plan_file, int(batch[1]), *tensor) for folder in folders]
    if not networks:
        raise PlanError(f"{repository}: no model with backend tensorrt; export one with --network tensorrt")
    return networks


def _first_input(text: str) -> tuple[str, tuple[int, ...]] | None:
    block = re.search(r"^input\s*\{(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    name = re.search(r'name:\s*"([^"]+)"', block[1]) if block else None
    dims = re.search(r"dims:\s*\[([^\]]*)\]", block[1]) if block else None
    return (name[1], tuple(int(dim) for dim in dims[1].split(","))) if name and dims else None


def this_machine(trtexec: str, gpu: int) -> Machine:
    """Ask the driver and TensorRT what they are.

    Raises:
        PlanError: One of them does not answer.
    """
    query = ["nvidia-smi", f"--id={gpu}", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"]
    fields = [field.strip() for field in _output(query).split(",")]
    if len(fields) != len(_QUERY):
        raise PlanError(f"nvidia-smi says {fields!r}, expected {', '.join(_QUERY)}: is there a GPU?")
    # Its banner names the release as one number, such as v110400; all that matters is whether it is the same.
    banner = re.search(r"TensorRT[ .]v?(\d{3,6})\b", _output([trtexec, "--help"]))
    if banner is None:
        raise PlanError(f"{trtexec} does not say which TensorRT it belongs to")
    return Machine(fields[0], fields[1], fields[2], banner[1])


def problem(network: Network, machine: Machine) -> str | None:
    """Return why a network's plan can't be served here, or None where it can."""
    plan = network.plan
    if not plan.is_file():
        return f"{plan}: is missing"
    with plan.open("rb") as file:
        start = file.read(len(MAGIC))
    if start != MAGIC:
        return f"{plan}: is no TensorRT plan, it starts with {start!r} (Ultralytics' .engine has a header in front)"
    onnx = network.folder / ONNX_FILE
    if not onnx.is_file() and not network.note.is_file():
        return None  # built elsewhere, and there is nothing to build it from: Triton will tell whether it loads
    try:
        note = json.loads(network.note.read_text(encoding="utf-8"))
        built = Machine(**note["machine"])
        source, batch = note["onnx_sha256"], note["max_batch_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{network.note}: is missing or malformed, so that nothing tells what the plan was built for"
    # Drivers may change below a plan; GPU and TensorRT may not.
    for name in ("gpu", "compute_capability", "tensorrt"):
        if getattr(built, name) != getattr(machine, name):
            return f"{plan}: was built for {name} {getattr(built, name)}, here it is {getattr(machine, name)}"
    if batch != network.max_batch_size:
        return f"{plan}: was built for batches up to {batch}, the configuration says {network.max_batch_size}"
    if onnx.is_file() and sha256_of(onnx) != source:
        return f"{plan}: was built from another {ONNX_FILE}"
    return None


def check_not_anothers(network: Network, machine: Machine, config_name: str) -> None:
    """Refuse to build where a plan serves another kind of GPU: the servers that have it would lose it.

    That goes for `PLAN_FILE` as well, which a network without a configuration of the name has: two kinds of GPU would
    build it in turn.

    Raises:
        PlanError: It does.
    """
    try:
        gpu = json.loads(network.note.read_text(encoding="utf-8"))["machine"]["gpu"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if gpu == machine.gpu:
        return
    if network.plan_file == PLAN_FILE:
        model = network.folder.parent.name.removesuffix("_network")
        advice = (
            f"give the model a configuration of this name: python -m yolov8_export add-config {model} {config_name};"
        )
    else:
        advice = "give the configuration's name of this kind of GPU,"
    raise PlanError(
        f"{network.plan}: is for {gpu}, and this is {machine.gpu}; {advice} or --force, if none of the other kind is "
        "left"
    )


def trtexec_command(trtexec: str, network: Network, plan: Path, cache: Path, gpu: int) -> list[str]:
    """Return the command that builds a plan: one profile, from single images to full batches, best at those."""
    sizes = {"min": 1, "opt": network.max_batch_size, "max": network.max_batch_size}
    shape = "x".join(map(str, network.dims))
    return [
        trtexec,
        f"--onnx={network.folder / ONNX_FILE}",
        f"--saveEngine={plan}",
        *(f"--{name}Shapes={network.input}:{size}x{shape}" for name, size in sizes.items()),
        f"--timingCacheFile={cache}",
        f"--device={gpu}",
        "--skipInference",
    ]


def build(network: Network, machine: Machine, trtexec: str, cache: Path, gpu: int) -> None:
    """Build a network's plan; the old one stays until the new one is whole.

    Raises:
        PlanError: TensorRT can't build it.
    """
    onnx, partial = network.folder / ONNX_FILE, network.plan.with_suffix(".partial")
    if not onnx.is_file():
        raise PlanError(f"{onnx}: is missing; export the model again")
    try:
        _output(trtexec_command(trtexec, network, partial, cache, gpu))
        if not partial.is_file() or not partial.read_bytes().startswith(MAGIC):
            raise PlanError(f"{onnx}: trtexec ended well and wrote no plan")
        note = {
            "machine": asdict(machine),
            "onnx_sha256": sha256_of(onnx),
            "max_batch_size": network.max_batch_size,
            "plan_bytes": partial.stat().st_size,
        }
        network.note.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        partial.replace(network.plan)
    finally:
        partial.unlink(missing_ok=True)


def strip_header(plan: Path) -> None:
    """Make a plan of an Ultralytics ``.engine``: a length in 4 bytes, so much JSON, then the plan."""
    content = plan.read_bytes() if plan.is_file() else b""
    length = int.from_bytes(content[:4], "little", signed=True)
    if 0 < length < len(content) and content[4 + length :].startswith(MAGIC):
        partial = plan.with_suffix(".partial")
        partial.write_bytes(content[4 + length :])
        partial.replace(plan)


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_trtexec() -> str:
    """Return the path of trtexec: $TRTEXEC, PATH, or where the image has it.

    Raises:
        PlanError: It is in none of them.
    """
    places = (os.environ.get("TRTEXEC"), shutil.which("trtexec"), *TRTEXEC_PLACES)
    for place in places:
        if place and os.access(place, os.X_OK):
            return place
    raise PlanError(f"no trtexec in $TRTEXEC, PATH, {', '.join(TRTEXEC_PLACES)}: run this in the Triton image")


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
    parser.add_argument("repository", type=Path)
    parser.add_argument("--check", action="store_true", help="build nothing, say what does not fit")
    parser.add_argument("--force", action="store_true", help="build also what fits, or is for another kind of GPU")
    parser.add_argument(
        "--config-name",
        default=os.environ.get("CONFIG_NAME") or None,
        help="of the configurations to read, as tritonserver's --model-config-name; $CONFIG_NAME",
    )
    parser.add_argument("--gpu", type=int, default=0, help="number of the GPU to build on")
    options = parser.parse_args(arguments)
    again = f"python3 build_plans.py {options.repository}"
    cache = options.repository / "timing.cache"
    if options.config_name:
        again += f" --config-name {options.config_name}"
        cache = options.repository / f"timing-{options.config_name}.cache"  # timings are of one kind of GPU
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
                sys.stdout.write(f"{network.plan}: building, which takes minutes ({why or 'forced'})\n")
                sys.stdout.flush()
                build(network, machine, trtexec, cache, options.gpu)
    except PlanError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    return 1 if misfits else 0


if __name__ == "__main__":
    sys.exit(main())
