# SPDX-License-Identifier: AGPL-3.0-or-later
"""Load a `.pt` checkpoint safely, and trace it into an ONNX network.

A pickle can run any code when it is loaded. torch's ``weights_only`` loading with Ultralytics' list of known classes
can't, and no option here turns it off.
"""

from __future__ import annotations

import copy
import re
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from ultralytics.nn.autobackend import check_class_names
from ultralytics.nn.tasks import torch_safe_load

from yolov8_contract.served_model import END2END, ServedModel
from yolov8_contract.task import Task
from yolov8_export.choices import HeadChoice
from yolov8_export.errors import ExportError, OptionError, UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides, Size, check_stride
from yolov8_export.progress import Progress
from yolov8_export.runtime import one_line
from yolov8_export.source.families import family, task_of_head
from yolov8_export.source.original import Original, Source, sha256_of
from yolov8_export.source.tracing import traced_network
from yolov8_export.source.values import class_names, keypoints, largest, read_value, size, text
from yolov8_export.ultralytics_metadata import stable_metadata

DEFAULT_IMGSZ = 640
_SHOWN_KEYS = 120

NUMBER_TYPES = tuple(type(np.dtype(code)) for code in "?bhilqBHILQefdgFDGSU")
"""The types of numpy's numbers and texts, which run no code when they are unpickled; Ultralytics allows only one."""

_OLDER_FORMAT = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
"""The pickled magic number with which torch's files began before they were zip archives."""

_ZIP = b"PK\x03\x04"
_MOST_UNPACKED_BYTES, _MOST_UNPACKED_TIMES = 64 << 20, 10

_Value = TypeVar("_Value")
_SIZE = "pixels such as 640 or [480, 640]"
_NAMES = "a list, or a dictionary of names by class id, from 0"
_KPT_SHAPE = "[points, 2 or 3]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A loaded checkpoint and its description.

    Attributes:
        module: The network in evaluation mode, FP32, on the CPU.
        task: The task of its head.
        names: The class names, as the checkpoint has them.
        kpt_shape: The number of keypoints of an object and of values of a keypoint, for pose.
        network_output: The output of the chosen head: ``raw`` or ``end2end``.
        stride: Height and width of an input must be multiples of this number of pixels.
        imgsz: The size of the training images, as the checkpoint has it.
        source: The weights.
    """

    module: torch.nn.Module
    task: Task
    names: Any
    kpt_shape: tuple[int, int] | None
    network_output: str
    stride: int
    imgsz: Any
    source: Source

    def served_model(self, overrides: ModelOverrides) -> ServedModel:
        """Return the model to serve, with the user's labels and input size.

        Raises:
            OptionError: An override contradicts the checkpoint.
        """
        count = len(self.names) if isinstance(self.names, dict | list | tuple) else None
        for option, said, wanted in (
            ("--task", self.task.value, overrides.task and overrides.task.value),
            ("--kpt-shape", self.kpt_shape, overrides.kpt_shape),
            ("--labels: number of classes", count, count and overrides.labels and len(overrides.labels)),
        ):
            if wanted is not None and wanted != said:
                raise OptionError(f"{option}: {self.source.path} says of itself {said}, got {wanted}")
        imgsz = overrides.imgsz or self._value("train_args 'imgsz'", self.imgsz, size, _SIZE, "--imgsz")
        check_stride(imgsz, self.stride)
        labels = overrides.labels or self._value("'names'", self.names, _class_names, _NAMES, "--labels")
        return ServedModel(
            task=self.task,
            labels=labels,
            imgsz=imgsz,
            kpt_shape=self.kpt_shape,
            family=family(self.source.architecture),
            network_output=self.network_output,
        )

    def _value(self, name: str, said: Any, parse: Callable[[Any], _Value], expected: str, option: str) -> _Value:
        return read_value(self.source.path, name, said, parse, expected=expected, option=option)

    def run(self, images: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of the network as it was loaded for ``(n, 3, h, w)`` images in [0, 1]."""
        with torch.no_grad():
            outputs = self.module(torch.from_numpy(images))[0]  # the rest are inputs of the training losses
        return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    def __str__(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.module.parameters())
        return (
            f"{type(self.module).__name__} ({self.source.architecture or 'architecture not said'}), "
            f"{parameters / 1e6:.1f} M parameters, head {self.source.head}, "
            f"written by Ultralytics {self.source.trained_with or 'of unknown version'}"
        )


def read_checkpoint(
    path: Path, overrides: ModelOverrides, opset: int, progress: Progress, accept: Callable[[ServedModel], None]
) -> Original:
    """Load a checkpoint and trace it into an ONNX network; ``accept`` raises an error for a model that can't be served.

    Raises:
        WeightsError: The checkpoint can't be loaded safely.
        UnsupportedError: Its network is not served.
        OptionError: An override contradicts the checkpoint.
    """
    with progress.step(f"Loading {path}"):
        checkpoint = load_checkpoint(path, overrides.head)
    progress.note(f"  {checkpoint}")
    model = checkpoint.served_model(overrides)
    accept(model)
    with progress.step("Tracing it into ONNX"), _as_ultralytics_writes(path):
        network, shapes = trace(checkpoint.module, model.imgsz, opset=opset)
    return Original(
        onnx=network,
        model=model,
        stride=checkpoint.stride,
        source=checkpoint.source,
        output_shapes=shapes,
        metadata=_metadata(checkpoint, model),
        run=checkpoint.run,
        reference="checkpoint",
        module=partial(for_export, checkpoint.module),
    )


def load_checkpoint(path: Path, head: HeadChoice | None = None) -> Checkpoint:
    """Load a checkpoint safely.

    Args:
        path: The file.
        head: The head to compute, where the network has two; by default, the one of Ultralytics' predict.

    Raises:
        OptionError: The network does not have that head.
        WeightsError: The file is damaged, not from Ultralytics, or contains more than a model.
        UnsupportedError: The network's head is not served, or it needs other images.
    """
    content = _load(path)
    models = [model for key in ("ema", "model") if isinstance(model := content.get(key), torch.nn.Module)]
    if not models:
        kinds: dict[str, str] = {key: f" ({type(content[key]).__name__})" for key in ("ema", "model") if key in content}
        held = ", ".join(sorted(f"{key}{kinds.get(key, '')}" for key in content))
        raise WeightsError(
            f"{path}: holds {textwrap.shorten(held, _SHOWN_KEYS, placeholder=' ...') or 'nothing'} and no network; "
            "expected a checkpoint as Ultralytics writes it (weights/best.pt), not a state dict"
        )
    with _as_ultralytics_writes(path):
        if content.get("modelopt"):
            raise UnsupportedError(
                f"{path}: was trained with quantization, which is not served; take the FP32 checkpoint"
            )
        return _described(path, models[0].float().eval(), content, head)


def _described(path: Path, module: Any, content: Mapping[str, Any], wanted: HeadChoice | None) -> Checkpoint:
    """Return a loaded network with what it and its checkpoint say of it."""
    head = module.model[-1] if hasattr(module, "model") else module
    task = task_of_head(type(head).__name__)
    _check_channels(path, module)
    if task is Task.CLASSIFY:
        _check_normalisation(path, module)
    shape, stride = getattr(head, "kpt_shape", None), getattr(module, "stride", None)
    architecture = text(_yaml(module).get("yaml_file"))
    return Checkpoint(
        module=module,
        task=task,
        names=getattr(module, "names", None),
        kpt_shape=read_value(path, "'kpt_shape'", shape, keypoints, expected=_KPT_SHAPE) if task is Task.POSE else None,
        network_output=_choose_head(path, module, head, wanted),
        stride=read_value(path, "'stride'", stride, largest, expected="pixels such as 32"),
        imgsz=_trained_at(content.get("train_args")),
        source=Source(
            path=path,
            sha256=sha256_of(path),
            format="pytorch",
            architecture=None if architecture is None else Path(architecture).name,
            head=type(head).__name__,
            trained_with=text(content.get("version")),
        ),
    )


def _choose_head(path: Path, module: Any, head: Any, wanted: HeadChoice | None) -> str:
    """Let a network compute one of its heads, and return the name of its output.

    Ultralytics' predict takes the one-to-many head unless it is called with ``nms=False``, or the file has lost it.
    """
    branches: dict[HeadChoice, Any] = {
        "one2many": getattr(head, "cv2", None),
        "one2one": getattr(head, "one2one_cv2", None),
    }
    present = [name for name, branch in branches.items() if branch is not None]
    if wanted is not None and wanted not in present:
        has = present[0] if present else "no such choice"
        raise OptionError(f"--head {wanted}: the head {type(head).__name__} of {path} has {has}; leave --head out")
    chosen = wanted or next(iter(present), "one2many")
    if branches["one2one"] is not None:
        module.end2end = chosen == "one2one"
    return END2END if chosen == "one2one" else "raw"


@contextmanager
def _as_ultralytics_writes(path: Path) -> Iterator[None]:
    """Turn the errors of a network that lacks what Ultralytics' networks have into one for the user."""
    try:
        yield
    except ExportError:
        raise
    except Exception as exc:  # code of another version runs on attributes of any type
        raise WeightsError(
            f"{path}: is not as Ultralytics 8.4 writes checkpoints: {type(exc).__name__}: {one_line(exc)}; "
            "load it with the Ultralytics that wrote it, and export it to .onnx there"
        ) from exc


def _load(path: Path) -> dict[str, Any]:
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise WeightsError(f"{path}: loading it safely needs torch 2.6 or newer, got {torch.__version__}")
    try:
        _check_format(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings are about files that are refused here
            torch.serialization.add_safe_globals(list(NUMBER_TYPES))
            content, _ = torch_safe_load(path, safe_only=True)  # type: ignore[no-untyped-call]  # Ultralytics has no types
        return dict(content)
    except WeightsError:
        raise
    except OSError as exc:
        raise WeightsError(f"{path}: can't be read: {exc.strerror or one_line(exc)}") from exc
    except Exception as exc:  # the bytes of a stranger: unpickling raises errors of any type
        raise WeightsError(_reason(path, exc)) from exc


def _check_format(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(len(_OLDER_FORMAT) + 2)
    if start.startswith(_ZIP) and zipfile.is_zipfile(path):  # archives of other kinds may hold one of this kind
        _check_size(path)
        return
    if _OLDER_FORMAT in start:
        raise WeightsError(
            f"{path}: is in the format that torch wrote before 1.6, in which it loads no model safely. If you trust "
            "the file, write it anew in a place where that does no harm: "
            f"torch.save(torch.load({path.name!r}, weights_only=False), 'new.pt')"
        )
    raise WeightsError(f"{path}: no PyTorch checkpoint, or cut short; download or copy it again")


def _check_size(path: Path) -> None:
    """Refuse an archive of a few bytes that fills the memory; torch compresses nothing."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > max(_MOST_UNPACKED_BYTES, _MOST_UNPACKED_TIMES * path.stat().st_size):
        raise WeightsError(
            f"{path}: would unpack to {unpacked} bytes, {unpacked // path.stat().st_size} times its size, which no "
            "checkpoint does; download or copy it again"
        )


def _reason(path: Path, exc: BaseException) -> str:
    said = f"{exc} {exc.__cause__ or ''}"
    if "TorchScript" in said:
        return f"{path}: is a TorchScript archive; export the checkpoint that it was made from, or name it .torchscript"
    if other := re.fullmatch(r"'(\w+)' object has no attribute 'model'", str(exc)):
        return f"{path}: holds a {other[1]}; expected a checkpoint as Ultralytics writes it (weights/best.pt)"
    refused = re.search(r"GLOBAL ([\w.]+)|but got <class '([\w.]+)'>", said)
    if refused is None:
        detail = re.search(r"WeightsUnpickler error:\s*(.+)", said)  # the rest advises to run whatever is in the file
        return (
            f"{path}: can't be loaded as a checkpoint of Ultralytics: "
            f"{detail[1] if detail else one_line(exc.__cause__ or exc)}; download or copy it again"
        )
    kind = refused[1] or refused[2]
    if kind.startswith("models."):
        return (
            f"{path}: is a checkpoint of the YOLOv5 repository ({kind}), which Ultralytics can't load; "
            "take YOLOv8 weights"
        )
    return (
        f"{path}: holds {kind!r}, which is no part of a model, and unpickling it could run any code; refused. "
        "If you trust the file, load it with Ultralytics in a place where that does no harm, "
        "export it to .onnx there, and give that here"
    )


def _yaml(module: Any) -> dict[str, Any]:
    described = getattr(module, "yaml", None)
    return described if isinstance(described, dict) else {}


def _check_channels(path: Path, module: torch.nn.Module) -> None:
    channels = _yaml(module).get("channels", 3)
    if channels != 3:
        raise UnsupportedError(f"{path}: expected a network of 3 channels (RGB), this one takes {channels}")


def _check_normalisation(path: Path, module: Any) -> None:
    """Refuse a classifier with another preprocessing than Ultralytics' default, which is the one that is served."""
    for step in getattr(getattr(module, "transforms", None), "transforms", ()):
        mean, std = getattr(step, "mean", None), getattr(step, "std", None)
        if mean is not None and (torch.as_tensor(mean).any() or (torch.as_tensor(std) != 1).any()):
            raise UnsupportedError(
                f"{path}: its images are normalised by mean {torch.as_tensor(mean).tolist()} and standard deviation "
                f"{torch.as_tensor(std).tolist()}, expected 0 and 1 as Ultralytics trains since 8.0"
            )


def _trained_at(train_args: Any) -> Any:
    """Return what the arguments of the training say of the size; a missing or empty value is Ultralytics' default."""
    arguments = train_args if isinstance(train_args, dict) else getattr(train_args, "__dict__", {})
    said = arguments.get("imgsz")
    return DEFAULT_IMGSZ if said is None else said


def _class_names(said: Any) -> tuple[str, ...]:
    """Return the class names; Ultralytics replaces the codes of ImageNet's classes by words."""
    named: dict[int, str] = check_class_names(dict(enumerate(class_names(said))))
    return tuple(named.values())


def trace(module: torch.nn.Module, imgsz: Size, *, opset: int) -> tuple[ir.Model, tuple[tuple[int, ...], ...]]:
    """Return a module as an ONNX network with a dynamic batch axis, and the shapes of its outputs without that axis.

    Inputs and outputs have Ultralytics' names: ``images``, ``output0``, and ``output1`` for mask prototypes.
    """
    module = for_export(module)
    images = torch.zeros(1, 3, *imgsz)
    with torch.no_grad():
        module(images)  # the first call makes the anchors, which become constants of the graph
        outputs = module(images)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    network = traced_network(module, images, outputs=len(outputs), opset=opset)
    return network, tuple(tuple(output.shape[1:]) for output in outputs)


def for_export(loaded: Any) -> Any:
    """Return a copy that outputs only predictions, with BatchNorm folded into the convolutions."""
    module = copy.deepcopy(loaded).fuse(verbose=False)
    for part in module.modules():
        if hasattr(part, "export"):
            part.export = True
        if hasattr(part, "format"):
            part.format = "onnx"
        if hasattr(part, "forward_split"):
            part.forward = part.forward_split  # the same sum; chunk() would be traced into shape arithmetic
    return module


def _metadata(checkpoint: Checkpoint, model: ServedModel) -> dict[str, str]:
    values = stable_metadata(model, checkpoint.stride)
    values |= {
        "description": f"{checkpoint.source.architecture or 'YOLO'} exported by yolov8-triton",
        "author": "Ultralytics",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "version": checkpoint.source.trained_with or "",
        "head": checkpoint.source.head,
        "args": {"batch": 1, "dynamic": False, "nms": None if model.has_nms else False},
    }
    if model.task is Task.POSE and (names := getattr(checkpoint.module, "kpt_names", None)):
        values["kpt_names"] = names
    return {key: str(value) for key, value in values.items()}
