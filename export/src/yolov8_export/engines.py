# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the files that PyTorch and TensorFlow load in place of the ONNX network, or take them as they were given."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from yolov8_contract.served_model import ServedModel
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.members import SAVED_MODEL, TORCHSCRIPT_FILE
from yolov8_export.errors import OptionError
from yolov8_export.graph.network import Network, ServedNetwork
from yolov8_export.graph.verify import Verification, verify
from yolov8_export.overrides import ModelOverrides
from yolov8_export.progress import Progress
from yolov8_export.runtime import Run
from yolov8_export.source.original import Original
from yolov8_export.source.weights import check_tensorflow, is_saved_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A network that is served as it was given.

    Attributes:
        network: The network.
        verification: The check of its outputs, with which nothing was to be compared.
        parameters: About the number of its weights.
        single_images: Whether it takes one image at a time.
    """

    network: ServedNetwork
    verification: Verification
    parameters: int
    single_images: bool


def check_engine(weights: Path, deployment: Deployment) -> None:
    """Refuse weights that an engine can't be made from, and packages that are missing, before the long steps.

    Raises:
        OptionError: The engine can't run these weights, or needs a package.
    """
    engine = deployment.engine
    if is_saved_model(weights):
        if engine != "tensorflow":
            raise OptionError(f"{weights}: only TensorFlow runs a SavedModel: add --network tensorflow")
        for option, value in (("input", deployment.network_input), ("output", deployment.network_output)):
            if value not in ("fp32", "raw", "auto"):
                raise OptionError(
                    f"--network-{option} {value}: a SavedModel is served as it was given; leave it out, or export the "
                    ".pt checkpoint"
                )
    if engine == "tensorflow":
        check_tensorflow()
    if engine == "pytorch" and weights.suffix == ".onnx":
        raise OptionError(
            f"{weights}: --network pytorch needs the .pt checkpoint, or a .torchscript file: "
            "PyTorch can't load an ONNX file"
        )
    if (engine, deployment.precision) == ("pytorch", "fp16") and weights.suffix == ".torchscript":
        raise OptionError(
            f"{weights}: --precision fp16 with --network pytorch needs the .pt checkpoint: the types of numbers in a "
            "TorchScript file are fixed"
        )


def given_saved_model(
    weights: Path,
    overrides: ModelOverrides,
    progress: Progress,
    accept: Callable[[ServedModel], ServedModel],
    stage: Path,
) -> Given:
    """Read a SavedModel, check its output, and copy it without the files of other engines.

    Args:
        weights: The folder.
        overrides: What its metadata do not say, or say otherwise.
        progress: Where the steps are shown.
        accept: Returns a model as it will be served, or raises an error.
        stage: The folder to copy it into.

    Raises:
        ExportError: It can't be served.
    """
    from yolov8_export.source.saved_model import read_saved_model

    found = read_saved_model(weights, overrides, progress, accept)
    with progress.step("Checking its outputs"):
        verification = verify(found.run, found.run, found.model, against="given file", called="TensorFlow")
        folder = stage / SAVED_MODEL
        shutil.copytree(weights, folder, ignore=shutil.ignore_patterns("*.tflite"))
    network = ServedNetwork(
        model=accept(found.model),
        head=found.head,
        stride=found.stride,
        source=found.source,
        precision="fp32",
        engine_files=(folder,),
    )
    return Given(
        network=network,
        verification=verification,
        parameters=found.parameters,
        single_images=found.single_images,
    )


def for_engine(
    original: Original,
    network: Network,
    model: ServedModel,
    engine: str,
    compared: Verification,
    stage: Path,
    progress: Progress,
) -> tuple[Network, Verification]:
    """Return the network with what its engine needs, and the largest differences of both from the original.

    A SavedModel is written later, by `with_saved_model`, when the ONNX network has its last form.
    """
    if engine == "pytorch":
        from yolov8_export.graph.torchscript import write_torchscript

        path = stage / TORCHSCRIPT_FILE
        with progress.step("Making TorchScript, and comparing it"):
            found = write_torchscript(original, model, path)
        return replace(network, engine_files=(path,)), _largest(compared, found)
    if engine == "tensorflow":
        with progress.step("Loading TensorFlow"):
            from yolov8_export.graph.saved_model import verify_in_tensorflow
        with progress.step("Translating it for TensorFlow, and comparing it"):
            return network, _largest(compared, verify_in_tensorflow(original, network))
    return network, compared


def fp16_writer(original: Original, model: ServedModel, engine: str, stage: Path) -> Callable[[], Run] | None:
    """Return a function that writes the network in FP16 where its engine has a file of its own, and runs it."""
    if engine != "pytorch":
        return None
    from yolov8_export.graph.torchscript import write_torchscript_in_fp16

    return partial(write_torchscript_in_fp16, original, model, stage / TORCHSCRIPT_FILE)


def with_saved_model(network: Network, stage: Path) -> Network:
    """Return a network with its SavedModel, which is written here."""
    from yolov8_export.graph.saved_model import write_saved_model

    write_saved_model(network.onnx, stage / SAVED_MODEL)
    return replace(network, engine_files=(stage / SAVED_MODEL,))


def _largest(one: Verification, other: Verification) -> Verification:
    differences = {name: max(value, other.differences[name]) for name, value in one.differences.items()}
    return replace(one, differences=differences)
