#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build a TensorRT plan with TensorRT's Python package, on a machine without trtexec.

`build_plans.py` runs this program in trtexec's place. It has the options of trtexec that `build_plans.py` uses, with
the same meaning, and no others. It needs the Python package `tensorrt` and a GPU.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple


class BuildError(Exception):
    """The plan can't be built."""


class Shape(NamedTuple):
    """The shape of an input, batch first."""

    name: str
    sizes: tuple[int, ...]


def shape(text: str) -> Shape:
    """Read a shape such as ``images:1x3x640x640``."""
    name, _, sizes = text.rpartition(":")
    if not name:
        raise ValueError(text)
    return Shape(name, tuple(int(size) for size in sizes.split("x")))


def release(package: Any) -> int:
    """Return TensorRT's release as one number, as trtexec prints it: 10.14.1.48 is 101401."""
    major, minor, patch = map(int, re.findall(r"\d+", package.__version__)[:3])
    return major * 10000 + minor * 100 + patch


def use_gpu(number: int) -> None:
    """Leave the process one GPU, by its number among those that it sees; called before CUDA starts.

    Raises:
        BuildError: The process sees fewer GPUs.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(index) for index in range(number + 1)]
    if number >= len(names):
        raise BuildError(f"there is no GPU {number} in CUDA_VISIBLE_DEVICES={visible}")
    os.environ["CUDA_VISIBLE_DEVICES"] = names[number]


def built(trt: Any, options: argparse.Namespace) -> Any:
    """Return the serialized plan, and store the timings of kernels for the next build.

    Raises:
        BuildError: TensorRT can't start, or refuses the network, a profile or the build.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    trt.init_libnvinfer_plugins(logger, "")
    try:
        builder = trt.Builder(logger)
    except TypeError as exc:  # pybind11's words for a builder that is null
        raise BuildError("TensorRT's builder can't start: is there a GPU, and a driver for this CUDA?") from exc
    # TensorRT 11 has only strongly typed networks, and still knows the flag.
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if options.strongly_typed else 0
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(options.onnx)):
        errors = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
        raise BuildError(f"{options.onnx}: TensorRT can't read the network: {'; '.join(errors)}")
    config = builder.create_builder_config()
    if options.no_tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    add_profiles(builder, config, options)
    use_timings(config, options.cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(f"{options.onnx}: TensorRT can't build the plan")
    if options.cache is not None:
        replace(options.cache, config.get_timing_cache().serialize())
    return plan


def add_profiles(builder: Any, config: Any, options: argparse.Namespace) -> None:
    """Add an optimization profile for each least, best and largest shape.

    Raises:
        BuildError: TensorRT refuses one.
    """
    for least, best, most in zip(options.least, options.best, options.most, strict=True):
        profile = builder.create_optimization_profile()
        profile.set_shape(least.name, least.sizes, best.sizes, most.sizes)
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(f"TensorRT refuses an optimization profile for {least}, {best}, {most}")


def use_timings(config: Any, path: Path | None) -> None:
    """Let the build use the timings of earlier ones; those of another TensorRT or GPU are left out."""
    if path is None:
        return
    stored = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        sys.stderr.write(f"warning: {path}: TensorRT can't use these timings, and measures anew\n")
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def replace(path: Path, content: Any) -> None:
    """Write a file from a buffer, complete or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(content)
    partial.replace(path)


def parser() -> argparse.ArgumentParser:
    """Return the reader of trtexec's options."""
    known = argparse.ArgumentParser(prog="trtexec.py", description=__doc__, add_help=False, allow_abbrev=False)
    known.add_argument("--help", action="store_true", help="print the options and TensorRT's release")
    known.add_argument("--onnx", type=Path, help="network")
    known.add_argument("--saveEngine", dest="plan", type=Path, help="file for the plan")
    known.add_argument(
        "--stronglyTyped", dest="strongly_typed", action="store_true", help="take types from the network"
    )
    known.add_argument("--noTF32", dest="no_tf32", action="store_true", help="don't round FP32 to TF32")
    known.add_argument("--profile", type=int, action="append", help="number of the profile that the next shapes are of")
    for name, option in (("least", "min"), ("best", "opt"), ("most", "max")):
        known.add_argument(f"--{option}Shapes", dest=name, type=shape, action="append", default=[], metavar="NAME:1x3")
    known.add_argument("--timingCacheFile", dest="cache", type=Path, help="file with timings of kernels")
    known.add_argument("--device", type=int, default=0, help="number of the GPU to build on")
    known.add_argument("--skipInference", action="store_true", help="has no effect: nothing is run")
    return known


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    known = parser()
    options = known.parse_args(arguments)
    try:
        use_gpu(options.device)
        import tensorrt as trt

        if options.help:
            known.epilog = f"TensorRT v{release(trt)}"
            known.print_help()
            return 0
        if options.onnx is None or options.plan is None:
            known.error("--onnx and --saveEngine are needed")
        replace(options.plan, built(trt, options))
    except ImportError as exc:
        sys.stderr.write(f"error: the Python package tensorrt of {sys.executable} can't be loaded: {exc}\n")
        return 1
    except (BuildError, OSError, RuntimeError, ValueError) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
